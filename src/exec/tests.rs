use super::check::{self, Case, random_graph};
use super::*;
use crate::graph::plan::Step;
use crate::graph::{Graph, Var};
use crate::models::{Model, Size};
use crate::nn::{
    Activation, Conv2D, Dense, Flatten, LEAKY_RELU, Layer, MaxPooling2D, Padding, Softmax,
    concatenate,
};
use sonograd_kernels::{ConvAlgorithm, Isa};

fn conv(filters: usize) -> Conv2D {
    Conv2D {
        filters,
        kernel: [3, 2],
        padding: Padding::Same,
        activation: Activation::Linear,
    }
}

fn dense(units: usize) -> Dense {
    Dense {
        units,
        activation: Activation::Linear,
    }
}

const POOL: MaxPooling2D = MaxPooling2D {
    window: 3,
    stride: 2,
    padding: Padding::Same,
};

/// One convolution read by three layers, two of which need its gradient written and one that adds through a view.
fn fan_of_images() -> (Graph, Var) {
    let mut g = Graph::new();
    let x = g.input("input", [6, 5, 2]).unwrap();
    let stem = conv(5).apply(&mut g, "stem", x).unwrap();
    let left = conv(3).apply(&mut g, "left", stem).unwrap();
    let left = LEAKY_RELU.apply(&mut g, "left.activation", left).unwrap();
    let right = POOL.apply(&mut g, "right", stem).unwrap();
    let parts = [("a", left), ("b", right), ("c", stem)];
    let parts = parts.map(|(name, x)| Flatten.apply(&mut g, name, x).unwrap());
    let x = concatenate(&mut g, "join", &parts).unwrap();
    let x = dense(4).apply(&mut g, "classifier", x).unwrap();
    let x = Softmax.apply(&mut g, "softmax", x).unwrap();
    (g, x)
}

/// Rows: one read by a join twice (once through a view), by a dense layer and by a softmax inside the model.
fn fan_of_rows() -> (Graph, Var) {
    let mut g = Graph::new();
    let x = g.input("input", [7]).unwrap();
    let stem = dense(9).apply(&mut g, "stem", x).unwrap();
    let again = Flatten.apply(&mut g, "again", stem).unwrap();
    let weighting = Softmax.apply(&mut g, "inside", stem).unwrap();
    let deep = dense(5).apply(&mut g, "deep", stem).unwrap();
    let deep = Activation::Relu.apply(&mut g, "relu", deep).unwrap();
    let x = concatenate(&mut g, "join", &[stem, weighting, again, deep]).unwrap();
    let x = dense(3).apply(&mut g, "classifier", x).unwrap();
    let x = Softmax.apply(&mut g, "softmax", x).unwrap();
    (g, x)
}

/// Kernels large enough for gradients over the whole batch, one before the other and both from one row.
fn wide() -> (Graph, Var) {
    let mut g = Graph::new();
    let x = g.input("input", [301]).unwrap();
    let a = dense(111).apply(&mut g, "a", x).unwrap();
    let a = Activation::Relu.apply(&mut g, "relu", a).unwrap();
    let b = dense(300).apply(&mut g, "b", a).unwrap();
    let c = dense(301).apply(&mut g, "c", a).unwrap();
    let x = concatenate(&mut g, "join", &[b, c]).unwrap();
    let x = dense(3).apply(&mut g, "classifier", x).unwrap();
    let x = Softmax.apply(&mut g, "softmax", x).unwrap();
    (g, x)
}

/// A layer that nothing needs: it is left out, weights and all.
fn dead_end() -> (Graph, Var) {
    let mut g = Graph::new();
    let x = g.input("input", [4]).unwrap();
    let stem = dense(5).apply(&mut g, "stem", x).unwrap();
    dense(50).apply(&mut g, "nowhere", stem).unwrap();
    let x = dense(3).apply(&mut g, "classifier", stem).unwrap();
    let x = Softmax.apply(&mut g, "softmax", x).unwrap();
    dense(2).apply(&mut g, "behind", x).unwrap();
    (g, x)
}

type Build = fn() -> (Graph, Var);

const SMALL: [(&str, Build); 4] = [
    ("fan of images", fan_of_images),
    ("fan of rows", fan_of_rows),
    ("wide", wide),
    ("dead end", dead_end),
];

/// 37 samples are 8 shards, the last of them shorter.
#[test]
fn graphs_with_fans_and_joins_are_their_definition() {
    for (what, build) in SMALL {
        for samples in [1, 7, 37] {
            check::model(&format!("{what}, {samples} samples"), &build, samples);
        }
    }
}

#[test]
fn the_models_are_their_definition() {
    for &model in Model::ALL {
        // The naive oracle runs four times a weight: the larger models are checked narrow, in odd widths.
        let size = Size {
            classes: 4,
            width: if model == Model::Parallel { 1.0 } else { 0.15 },
            dropout: false,
        };
        let build = || model.build(size).unwrap();
        check::model(model.name(), &build, 3);
    }
}

#[test]
fn random_graphs_are_their_definition() {
    for seed in 0..60 {
        let samples = [1, 2, 9][seed as usize % 3];
        check::model(
            &format!("random graph {seed}"),
            &|| random_graph(seed),
            samples,
        );
    }
}

/// The check itself must be able to fail: a gradient of other weights is not these weights' slope.
#[test]
#[should_panic(expected = "the slope along")]
fn a_wrong_gradient_is_found() {
    let (graph, output) = fan_of_rows();
    let plan = || {
        let (graph, output) = fan_of_rows();
        graph.compile(output).unwrap()
    };
    let case = Case::new(plan(), 5, 3);
    let mut executor = case.executor(plan(), Isa::best());
    let mut moved = case.weights["stem.kernel"].clone();
    moved[3] += 0.01;
    executor.set_weight("stem.kernel", &moved).unwrap();
    executor.loss_and_gradients(&case.batch()).unwrap();
    check::slopes("moved", &case, &graph, output, &executor);
}

/// Loss, probabilities and gradients by name.
fn answers(case: &Case, executor: &mut Executor) -> Vec<(String, Vec<f32>)> {
    let mut probabilities = vec![f32::NAN; case.targets.len()];
    executor.predict(&case.batch(), &mut probabilities).unwrap();
    let outcome = executor.loss_and_gradients(&case.batch()).unwrap();
    let mut tensors = vec![("loss".to_string(), vec![outcome.loss as f32])];
    tensors.push(("output".into(), probabilities));
    for name in case.weights.keys() {
        let gradient = executor.gradient(name).map(<[f32]>::to_vec);
        tensors.extend(gradient.map(|gradient| (name.clone(), gradient)));
    }
    tensors
}

/// Equal but for the order of additions. A gradient may be 0 but for rounding: it is measured by all gradients' size too.
fn assert_same(what: &str, found: &[(String, Vec<f32>)], expected: &[(String, Vec<f32>)]) {
    let square = |x: f32| f64::from(x).powi(2);
    let whole = expected[2..].iter().flat_map(|(_, x)| x);
    let whole: f64 = whole.map(|&x| square(x)).sum::<f64>().sqrt();
    for ((name, found), (_, expected)) in found.iter().zip(expected) {
        let size: f64 = expected.iter().map(|&x| square(x)).sum();
        let distance: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
        let (distance, size) = (distance.sqrt(), size.sqrt());
        assert!(
            distance <= 2e-5 * size + 1e-6 * whole,
            "{what}: {name} of size {size:e} (all: {whole:e}) is off by {distance:e}"
        );
    }
}

/// However few samples of a shard go through a stage at once; a prediction after a step folds the statistics it moved.
#[test]
fn parts_of_a_shard_are_the_whole() {
    let size = Size {
        classes: 3,
        width: 0.2,
        dropout: false,
    };
    let models = Model::ALL.iter().map(|&model| {
        let build = Box::new(move || model.build(size).unwrap()) as Box<dyn Fn() -> (Graph, Var)>;
        (model.name().to_string(), build)
    });
    let random = (200..210).map(|seed| {
        let build = Box::new(move || random_graph(seed)) as Box<dyn Fn() -> _>;
        (format!("random graph {seed}"), build)
    });
    for (what, build) in models.chain(random) {
        let compile = || {
            let (graph, output) = build();
            graph.compile(output).unwrap()
        };
        // Shards of 3 samples, the last one of 2.
        let case = Case::new(compile(), 23, 1);
        let found = [1, 2, 16].map(|part| {
            let mut executor = case.executor(compile(), Isa::best());
            let stages = executor.train_stages.iter_mut();
            for stage in stages.chain(&mut executor.predict_stages) {
                stage.part = part;
            }
            let first = answers(&case, &mut executor);
            [first, answers(&case, &mut executor)].concat()
        });
        assert_same(&format!("{what}, one by one"), &found[0], &found[2]);
        assert_same(&format!("{what}, two by two"), &found[1], &found[2]);
    }
}

#[test]
fn fused_is_unfused() {
    let models = Model::ALL.iter().map(|&model| {
        let size = Size {
            classes: 8,
            width: 1.0,
            dropout: false,
        };
        let build = Box::new(move || model.build(size).unwrap()) as Box<dyn Fn() -> (Graph, Var)>;
        (model.name().to_string(), build)
    });
    let small = SMALL
        .into_iter()
        .map(|(what, build)| (what.to_string(), Box::new(build) as Box<dyn Fn() -> _>));
    let random = (100..160).map(|seed| {
        let build = Box::new(move || random_graph(seed)) as Box<dyn Fn() -> _>;
        (format!("random graph {seed}"), build)
    });
    let mut fewer = 0;
    for (what, build) in models.chain(small).chain(random) {
        let compile = |fused: bool| {
            let (graph, output) = build();
            if fused {
                graph.compile(output)
            } else {
                graph.compile_unfused(output)
            }
            .unwrap()
        };
        fewer += compile(false).steps.len() - compile(true).steps.len();
        // A maximum within rounding of a tie falls to either side once a normalisation is folded: not in this case.
        let case = Case::new(compile(true), 5, 3);
        for isa in Isa::available() {
            let found = |fused| answers(&case, &mut case.executor(compile(fused), isa));
            assert_same(
                &format!("{what} on {isa}, fused"),
                &found(true),
                &found(false),
            );
        }
    }
    assert!(fewer > 30, "hardly anything was fused: {fewer}");
}

/// A convolution takes the normalisation behind it along, which is otherwise a pass of its own.
#[test]
fn normalisations_go_along_with_what_they_normalise() {
    for (model, width, count) in [
        (Model::Efficient, 1.0, 3),
        (Model::Efficient, 0.2, 3),
        (Model::Accurate, 0.2, 6),
    ] {
        let size = Size {
            classes: 3,
            width,
            dropout: false,
        };
        let case = Case::new(model.compile(size).unwrap(), 5, 1);
        for isa in Isa::available() {
            let [mut along, mut apart] =
                [0; 2].map(|_| case.executor(model.compile(size).unwrap(), isa));
            assert_eq!(along.norms.iter().flatten().count(), count, "{model}");
            apart.norms.fill(None);
            let needs = |step: &Step| step.op.needs(apart.shard_samples, isa.lanes());
            let needs: Vec<_> = apart.plan.steps.iter().map(needs).collect();
            apart.train_stages = train_stages(&apart.plan, &needs, &apart.norms);
            let what = format!("{model} of width {width} on {isa}");
            assert_same(
                &what,
                &answers(&case, &mut along),
                &answers(&case, &mut apart),
            );
        }
    }
    // Whole maps are multiplied by gradients that are there already.
    let size = Size {
        classes: 3,
        width: 0.2,
        dropout: false,
    };
    let mut plan = Model::Efficient.compile(size).unwrap();
    for (_, block) in plan.convolutions() {
        block.algorithm = Some(ConvAlgorithm::Naive);
    }
    let needs: Vec<_> = (plan.steps.iter().map(|step| step.op.needs(1, 4))).collect();
    assert_eq!(norms_behind(&plan, &needs).iter().flatten().count(), 0);
}

/// A model without weights has nothing to train, but its loss is as good as any.
#[test]
fn a_softmax_alone_has_a_loss() {
    let build = || {
        let mut g = Graph::new();
        let x = g.input("input", [4]).unwrap();
        let x = Softmax.apply(&mut g, "softmax", x).unwrap();
        (g, x)
    };
    check::model("softmax alone", &build, 3);
}
