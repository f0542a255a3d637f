//! Whole models: output, loss, gradients and a few steps of training.

use crate::cases::fixture;
use sonograd::io::TensorFile;
use sonograd::io::reference::Reference;
use sonograd::models::Model;
use sonograd::verify::{Differences, TOLERANCE, verify};
use sonograd_kernels::{Compute, ConvAlgorithm, GemmAlgorithm, Isa};
use std::path::Path;

/// Instruction sets that must be here, as `SONOGRAD_REQUIRE_ISA` lists them.
fn required(names: &str) -> Result<Vec<Isa>, String> {
    let names = names.split(',').filter(|name| !name.is_empty());
    names.map(str::parse).collect()
}

#[test]
fn instruction_sets_that_are_asked_for_are_tested() {
    let names = std::env::var("SONOGRAD_REQUIRE_ISA").unwrap_or_default();
    let sets = required(&names).unwrap();
    let available: Vec<Isa> = Isa::available().collect();
    assert!(sets.iter().all(|isa| available.contains(isa)));
    assert!(available.contains(&Isa::Portable) && available.contains(&Isa::Emulated512));
}

#[test]
fn a_missing_instruction_set_is_a_failure() {
    assert!(required("sse9").unwrap_err().contains("sse9"));
    for isa in Isa::ALL {
        assert_eq!(required(isa.name()).is_ok(), isa.is_available(), "{isa}");
    }
}

#[test]
fn every_model_is_keras_on_every_instruction_set() {
    for model in Model::ALL {
        let reference = Reference::read(&fixture(&format!("{model}.safetensors"))).unwrap();
        for isa in Isa::available() {
            let verdict = verify(&reference, &isa.into()).unwrap();
            println!("{verdict:?}");
            assert!(verdict.pass, "{verdict:?}");
        }
    }
}

/// The products that `--precision fast` runs on tiles, emulated where there are none.
#[test]
fn every_model_is_keras_in_bf16_parts() {
    let sets = [Isa::Portable, Isa::Emulated512, Isa::best()];
    for (model, isa) in Model::ALL.iter().zip(sets.into_iter().cycle()) {
        let reference = Reference::read(&fixture(&format!("{model}.safetensors"))).unwrap();
        for (convolution, product) in [
            (ConvAlgorithm::Bf16x6, GemmAlgorithm::Bf16x6),
            (ConvAlgorithm::Bf16x6x3, GemmAlgorithm::Bf16x6x3),
        ] {
            let compute = Compute {
                convolution: Some(convolution),
                product: Some(product),
                ..isa.into()
            };
            let verdict = verify(&reference, &compute).unwrap();
            println!("{verdict:?}");
            assert!(verdict.pass, "{convolution}: {verdict:?}");
        }
    }
}

/// The record with some tensors changed.
fn altered(change: impl FnOnce(&mut TensorFile)) -> Result<Differences, String> {
    let path = fixture("parallel.safetensors");
    let mut file = TensorFile::read(&path).unwrap();
    change(&mut file);
    let reference = Reference::from_bytes(&file.to_bytes().unwrap(), Path::new("altered"));
    let verdict = reference.and_then(|reference| verify(&reference, &Isa::best().into()));
    let verdict = verdict.map_err(|error| error.to_string())?;
    assert_eq!(verdict.pass, verdict.differences.within(&TOLERANCE));
    Ok(verdict.differences)
}

/// Which figures leave their tolerance when one element of a tensor is changed.
fn figures(tensor: &str, change: impl FnOnce(f32) -> f32) -> Vec<&'static str> {
    let found = altered(|file| {
        let values = file.tensors.get_mut(tensor).unwrap().data_mut();
        // The largest one: a change of an all but absent value is none.
        let largest =
            (0..values.len()).max_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
        let value = &mut values[largest.unwrap()];
        *value = change(*value);
    })
    .unwrap();
    let Differences {
        output_max_abs,
        loss_rel,
        grad_rel_l2,
        trajectory_loss_rel,
        params_rel_l2,
    } = found;
    [
        ("output", output_max_abs, TOLERANCE.output_max_abs),
        ("loss", loss_rel, TOLERANCE.loss_rel),
        ("gradients", grad_rel_l2, TOLERANCE.grad_rel_l2),
        (
            "trajectory",
            trajectory_loss_rel,
            TOLERANCE.trajectory_loss_rel,
        ),
        ("weights", params_rel_l2, TOLERANCE.params_rel_l2),
    ]
    .into_iter()
    .filter(|(_, found, limit)| found.is_nan() || found > limit)
    .map(|(name, ..)| name)
    .collect()
}

#[test]
fn an_altered_record_fails_in_the_figure_that_was_altered() {
    let more = |x: f32| 1.1 * x;
    assert_eq!(figures("output", more), ["output"]);
    assert_eq!(figures("loss", |x| x + 1e-3), ["loss"]);
    assert_eq!(figures("grad/branch1.conv.bias", more), ["gradients"]);
    assert_eq!(figures("trajectory/loss", |x| 1.001 * x), ["trajectory"]);
    let moved = figures("trajectory/param/classifier.bias", |x| 2.0 * x);
    assert_eq!(moved, ["weights"]);
    for (tensor, figure) in [
        ("output", "output"),
        ("loss", "loss"),
        ("grad/classifier.kernel", "gradients"),
        ("trajectory/loss", "trajectory"),
        ("trajectory/param/branch2.conv.kernel", "weights"),
    ] {
        assert_eq!(figures(tensor, |_| f32::NAN), [figure]);
    }
    // Another weight is another model: everything is different.
    let wrong = figures("param/branch1.conv.kernel", more);
    assert!(
        wrong.contains(&"output") && wrong.contains(&"gradients"),
        "{wrong:?}"
    );
}

#[test]
fn a_record_that_lacks_something_is_refused_by_its_name() {
    for tensor in [
        "grad/branch1.conv.bias",
        "param/classifier.kernel",
        "trajectory/loss",
        "trajectory/param/branch2.conv.bias",
        "output",
        "loss",
    ] {
        let message = altered(|file| {
            file.tensors.remove(tensor).unwrap();
        })
        .unwrap_err();
        assert!(message.contains(tensor), "{message}");
        assert!(message.contains("altered"), "{message}");
    }
    let message = altered(|file| {
        let tensor = file.tensors["grad/classifier.bias"].clone();
        file.tensors.insert("grad/nobody.bias".into(), tensor);
    });
    assert!(message.unwrap_err().contains("nobody.bias"));
    let message = altered(|file| {
        let tensor = file.tensors["param/branch2.conv.bias"].clone();
        file.tensors.insert("param/classifier.bias".into(), tensor);
    });
    assert!(message.unwrap_err().contains("classifier.bias"));
}
