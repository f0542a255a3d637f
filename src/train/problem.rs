//! All that a run trains on, as a file that another framework can repeat it from.

use super::run::RunOptions;
use crate::data::{Dataset, Normalisation, epoch_order, fill, split};
use crate::error::Result;
use crate::exec::Executor;
use crate::io::TensorFile;
use crate::models::Size;
use crate::shape::Shape;
use crate::tensor::Tensor;
use std::sync::Arc;

/// `train/input`, `train/target`, `validation/input`, `validation/target` (segments normalised, targets one-hot),
/// `train/song`, `validation/song` (which song each row is from, numbers of the set), `order/<epoch>` (rows of the training part, epochs from 0) and `param/<layer>.<weight>` (Keras' layouts). Metadata: `model`, `classes`, `batch_size`, `width`, `epochs`, and `patience`,
/// 0 where training does not stop early.
///
/// # Errors
/// As [`super::run::run`].
pub fn export(
    dataset: &Dataset,
    options: &RunOptions,
    pool: &Arc<rayon::ThreadPool>,
) -> Result<TensorFile> {
    let split = split(dataset, options.split, options.validation, options.seed)?;
    let normalisation = Normalisation::of(dataset, &split.train)?;
    let size = Size {
        classes: dataset.genres.len(),
        width: options.width,
        dropout: true,
    };
    let plan = options.model.compile(size)?;
    let input_shape = plan.input_shape().clone();
    let mut file = TensorFile::default();
    for (part, indices) in [("train", &split.train), ("validation", &split.validation)] {
        let samples = |shape: &[usize]| Shape::new([&[indices.len()], shape].concat());
        let mut input = Tensor::zeros(samples(input_shape.extents()));
        let mut target = Tensor::zeros(samples(&[size.classes]));
        fill(
            dataset,
            indices,
            normalisation,
            input.data_mut(),
            target.data_mut(),
        );
        let songs = indices.iter().map(|&i| dataset.song_of(i as usize) as f32);
        let songs = Tensor::new([indices.len()], songs.collect())?;
        file.tensors.insert(format!("{part}/song"), songs);
        file.tensors.insert(format!("{part}/input"), input);
        file.tensors.insert(format!("{part}/target"), target);
    }
    let mut row = vec![0.0; dataset.segment_count()];
    split
        .train
        .iter()
        .enumerate()
        .for_each(|(i, &segment)| row[segment as usize] = i as f32);
    for epoch in 0..options.epochs {
        let order = epoch_order(&split.train, options.seed, epoch + 1);
        let rows: Vec<f32> = order.iter().map(|&segment| row[segment as usize]).collect();
        file.tensors
            .insert(format!("order/{epoch}"), Tensor::new([rows.len()], rows)?);
    }
    let mut executor = Executor::new(plan, 1, Arc::clone(pool), options.compute.clone())?;
    executor.initialize(options.seed);
    for weight in executor.plan().weights() {
        let values = executor.weight(&weight.name).unwrap_or_default().to_vec();
        file.tensors.insert(
            format!("param/{}", weight.name),
            Tensor::new(weight.parameter.shape.clone(), values)?,
        );
    }
    for (name, value) in [
        ("model", options.model.name().to_string()),
        ("classes", size.classes.to_string()),
        ("batch_size", options.batch_size.to_string()),
        ("width", options.width.to_string()),
        ("epochs", options.epochs.to_string()),
        ("patience", options.patience.unwrap_or(0).to_string()),
    ] {
        file.metadata.insert(name.into(), value);
    }
    Ok(file)
}
