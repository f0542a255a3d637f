//! `sonograd compare`: models on the same songs, side by side.

use super::bench::predict_one;
use super::common::{DataArguments, ThreadArguments, describe, isa_or, parameters, place};
use super::output::{Output, note};
use super::progress::Teller;
use super::recipe::RecipeArguments;
use super::run_folder::{RUN_FILES, Report, make_folder, refuse_used, require_writable};
use crate::audio::FrontEnd;
use crate::data::{self, Dataset, Source, Split, SplitKind};
use crate::error::{Error, Result};
use crate::models::{Model, Size};
use crate::report::compare::ModelRun;
use crate::train::fit::check_batch;
use crate::train::run::{Run, RunOptions, run_on};
use clap::Args;
use results::{About, Outcome, Results};
use sonograd_kernels::Compute;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

mod results;

/// Train models on the same songs and compare them in one report
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  sonograd compare
      all five on the built-in set, three seeds each, and what the split by segment adds
  sonograd compare --data music --models parallel,efficient --seeds 5 --epochs 20
  sonograd compare --data music --folds 5 --no-leak
      cross-validation: every song is held out once

A run with seed N is the one of `sonograd train MODEL --seed N`, and has its figures. The folder holds compare.html,
compare.json and, for each seed, the run's own folder; all of it is kept up to date, so that a comparison that is broken off
leaves what it has.")]
pub(super) struct Compare {
    /// The models, with commas between them [default: all of them]
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    models: Option<Vec<String>>,

    #[command(flatten)]
    data: DataArguments,

    #[command(flatten)]
    recipe: RecipeArguments,

    /// Train each model with the seeds 1 to N: another split, other weights, another order each [default: 3]
    #[arg(long, value_name = "N", conflicts_with = "folds", value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: Option<u64>,

    /// Cross-validation instead: deal the songs into K parts, and hold out each of them once
    #[arg(long, value_name = "K", conflicts_with = "validation", value_parser = clap::value_parser!(u64).range(2..=1000))]
    folds: Option<u64>,

    /// Do not train the models under the split by segment too, which takes half of the time
    #[arg(long)]
    no_leak: bool,

    /// portable, avx2, avx512 [default: the best that this CPU has]
    #[arg(long)]
    isa: Option<String>,

    #[command(flatten)]
    threads: ThreadArguments,

    /// The comparison's folder; it must not hold one already [default: runs/compare-1, -2, ...]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// One JSON object a run and one for the whole on standard output, text on standard error
    #[arg(long)]
    json: bool,
}

/// The files of a comparison, beside the runs' folders.
const FILES: [&str; 2] = ["compare.html", "compare.json"];

/// Seconds for which the prediction of one segment is timed.
const LATENCY_SECONDS: f64 = 0.5;

/// The seed that deals songs into folds.
const FOLDS_SEED: u64 = 1;

/// One training.
struct Job {
    /// `seed 1`, `fold 3`.
    name: String,
    options: RunOptions,
    split: Split,
    /// It is one of those that show what a leaking split adds.
    leak: bool,
}

/// Where a run of a seed stands in the comparison's folder.
fn run_folder(folder: &Path, model: Model, seed: u64) -> PathBuf {
    folder.join(format!("{model}-{seed}"))
}

/// What all jobs share.
struct Shared<'a> {
    source: &'a Source,
    pool: Arc<rayon::ThreadPool>,
    compute: Compute,
}

impl Compare {
    pub(super) fn run(&self) -> Result<ExitCode> {
        let output = Output { json: self.json };
        let compute = self.recipe.compute(isa_or(self.isa.as_deref())?)?;
        let models = self.models()?;
        for &model in &models {
            self.recipe.options(model, 0, &compute)?;
        }
        match &self.out {
            Some(out) => {
                refuse_used(out, &FILES)?;
                for model in &models {
                    for seed in 1..=self.count() {
                        refuse_used(&run_folder(out, *model, seed), &RUN_FILES)?;
                    }
                }
                require_writable(out)?;
            }
            None => require_writable(Path::new("runs"))?,
        }
        let source = self.data.source();
        let shared = Shared {
            source: &source,
            pool: self.threads.pool()?,
            compute,
        };
        let sets = self.load(&models, &shared)?;
        let mut work = Vec::new();
        for &model in &models {
            let set = sets.iter().find(|set| set.front_end == model.front_end());
            let Some(dataset) = set else { continue };
            work.push((model, dataset, self.jobs(model, dataset, &shared.compute)?));
        }
        let folder = make_folder(self.out.as_deref(), "compare")?;
        let mut jobs = work.iter().flat_map(|(_, _, jobs)| jobs);
        if let Some(first) = jobs.find(|job| !job.leak) {
            let notes = first.split.notes.iter();
            notes.for_each(|text| note(format!("note: {text}")));
        }
        let mut results = Results::new(self.about(&sets, &work, &shared), folder);
        for (model, dataset, jobs) in work {
            let size = self.size(dataset);
            let plan = model.compile(size)?;
            let latency =
                predict_one(model, size, &shared.compute, &shared.pool, LATENCY_SECONDS)?.min;
            results.begin(model, parameters(&plan, true), latency);
            for job in jobs {
                let outcome = self.train(model, dataset, &job, &shared, results.folder())?;
                let line = results.add(model, &job, outcome)?;
                output.object(&line)?;
            }
        }
        results.print(output)?;
        output.object(&results.summary())?;
        results.failure().map_or(Ok(ExitCode::SUCCESS), Err)
    }

    /// The number of runs a model and split.
    fn count(&self) -> u64 {
        self.folds.or(self.seeds).unwrap_or(3)
    }

    fn models(&self) -> Result<Vec<Model>> {
        let Some(names) = &self.models else {
            return Ok(Model::ALL.to_vec());
        };
        let mut models = Vec::new();
        for name in names {
            let model: Model = name.trim().parse()?;
            if models.contains(&model) {
                return Err(Error::Usage(format!("--models names '{model}' twice")));
            }
            models.push(model);
        }
        Ok(models)
    }

    /// The songs once for each front end that the models need: the same songs in all of them.
    fn load(&self, models: &[Model], shared: &Shared<'_>) -> Result<Vec<Dataset>> {
        let mut sets: Vec<Dataset> = Vec::new();
        for front_end in FrontEnd::ALL {
            if models.iter().any(|model| model.front_end() == front_end) {
                sets.push(self.data.load(shared.source, front_end, &shared.pool)?);
            }
        }
        let [a, b] = sets.as_slice() else {
            return Ok(sets);
        };
        // A song of one second is too short for one front end only: then no model gets it.
        let paths = |set: &Dataset| -> BTreeSet<String> {
            set.songs.iter().map(|song| song.path.clone()).collect()
        };
        let (in_a, in_b) = (paths(a), paths(b));
        let alone: BTreeSet<String> = in_a.symmetric_difference(&in_b).cloned().collect();
        if alone.is_empty() {
            return Ok(sets);
        }
        let reason = "the other front end of this comparison cannot use it";
        for path in &alone {
            note(format!(
                "left out: {path}: one of the front ends cannot use it"
            ));
        }
        sets.iter().map(|set| set.without(&alone, reason)).collect()
    }

    fn size(&self, dataset: &Dataset) -> Size {
        Size {
            classes: dataset.genres.len(),
            width: self.recipe.width,
            dropout: true,
        }
    }

    /// A model's trainings, each with its split, checked before the first one begins.
    fn jobs(&self, model: Model, dataset: &Dataset, compute: &Compute) -> Result<Vec<Job>> {
        let asked = |seed: u64| self.recipe.options(model, seed, compute);
        let kind = asked(0)?.split.resolve(dataset);
        let mut jobs = Vec::new();
        let mut job = |name: String, options: RunOptions, split: Split, leak: bool| {
            check_batch(options.batch_size, split.train.len())
                .map_err(|error| Error::Usage(format!("{model}, {name}: {error}")))?;
            jobs.push(Job {
                name,
                options,
                split,
                leak,
            });
            Ok::<(), Error>(())
        };
        let split = |options: &RunOptions| {
            data::split(dataset, options.split, options.validation, options.seed)
        };
        let count = self.count();
        let name = |number: u64| match self.folds {
            Some(_) => format!("fold {number}"),
            None => format!("seed {number}"),
        };
        if let Some(folds) = self.folds {
            let splits = data::folds(dataset, kind, folds as usize, FOLDS_SEED)?;
            for (split, number) in splits.into_iter().zip(1..) {
                job(name(number), asked(number)?, split, false)?;
            }
        } else {
            for seed in 1..=count {
                let options = asked(seed)?;
                let split = split(&options)?;
                job(name(seed), options, split, false)?;
            }
        }
        if !self.no_leak && kind != SplitKind::Segment {
            for seed in 1..=count {
                let mut options = asked(seed)?;
                options.split = SplitKind::Segment;
                // As much to train on as a fold leaves.
                if let Some(folds) = self.folds {
                    options.validation = 1.0 / folds as f64;
                }
                let split = split(&options)?;
                job(name(seed), options, split, true)?;
            }
        }
        Ok(jobs)
    }

    /// Trains and judges. A training that leaves the numbers is an outcome, and no error: the others go on.
    fn train(
        &self,
        model: Model,
        dataset: &Dataset,
        job: &Job,
        shared: &Shared<'_>,
        folder: &Path,
    ) -> Result<Outcome> {
        let leak = if job.leak { ", by segment" } else { "" };
        let label = format!("{model}, {}{leak}, ", job.name);
        let mut teller = Teller::new(Output { json: false }, label, job.options.epochs);
        let trained = run_on(
            dataset,
            shared.source.into(),
            &job.options,
            job.split.clone(),
            Arc::clone(&shared.pool),
            &mut |progress| teller.tell(&progress),
        );
        teller.finish()?;
        let run = match trained {
            Ok(run) => run,
            // The set is sound: it is the answers that are no probabilities.
            Err(Error::Data(reason)) => return Ok(Outcome::Failed(reason)),
            Err(error) => return Err(error),
        };
        if let Some(diverged) = run.fitted.diverged {
            return Ok(Outcome::Failed(Error::from(diverged).to_string()));
        }
        // What `evaluate` could not find again by its recipe has no folder: folds, and the split made to leak.
        if self.folds.is_none() && !job.leak {
            let report = Report {
                options: &job.options,
                source: shared.source,
                dataset,
                run: &run,
                threads: shared.pool.current_num_threads(),
            };
            let own = run_folder(folder, model, job.options.seed);
            std::fs::create_dir_all(&own).map_err(Error::io("create", &own))?;
            report.write(&own)?;
        }
        let Run {
            fitted, evaluation, ..
        } = run;
        Ok(Outcome::Done {
            restored: fitted.restored,
            run: Box::new(ModelRun {
                name: job.name.clone(),
                history: fitted.history,
                evaluation,
                train_seconds: fitted.seconds,
            }),
        })
    }

    /// What the report says of the whole before any figure is there.
    fn about(
        &self,
        sets: &[Dataset],
        work: &[(Model, &Dataset, Vec<Job>)],
        shared: &Shared<'_>,
    ) -> About {
        let jobs = || work.iter().flat_map(|(_, _, jobs)| jobs);
        let main = jobs().find(|job| !job.leak);
        let kind = main.map_or(SplitKind::Song, |job| job.split.kind);
        let how = match (self.folds, self.count()) {
            (Some(folds), _) => format!("{folds} folds, every song held out once"),
            (None, 1) => "one seed".into(),
            (None, seeds) if kind == SplitKind::FaultFiltered => format!("{seeds} seeds"),
            (None, seeds) => format!("{seeds} seeds, each with a division of its own"),
        };
        let sizes = main.map_or(String::new(), |job| {
            format!(
                "; about {} songs to train on and {} held out at a time",
                job.split.songs_train, job.split.songs_validation
            )
        });
        let described: Vec<String> = sets
            .iter()
            .map(|set| format!("{} ({})", describe(shared.source, set), set.front_end))
            .collect();
        let recipe = work.iter().filter_map(|(model, _, jobs)| {
            let options = &jobs.first()?.options;
            let patience = options.patience.map_or(String::new(), |epochs| {
                format!(
                    ", stopped after {epochs} without a lower loss on the songs held out, and the best epoch's weights kept: \
                     these songs chose them, so its figures flatter a little"
                )
            });
            Some((
                model.to_string(),
                format!(
                    "{}, learning rate {}, {}, batches of {}, {} epochs{patience}",
                    options.rule,
                    options.learning_rate,
                    options.schedule,
                    options.batch_size,
                    options.epochs
                ),
            ))
        });
        About {
            title: format!("Models on {}", place(shared.source)),
            data: format!("{}.", described.join("; ")),
            split: format!("Split '{kind}', {how}{sizes}."),
            kind,
            leaks: jobs().any(|job| !job.leak && job.split.leaks),
            recipe: recipe.collect(),
            front_ends: sets
                .iter()
                .map(|set| (set.front_end.to_string(), set.front_end.constants()))
                .collect(),
            machine: crate::machine::describe(),
            compute: shared.compute.clone(),
            threads: shared.pool.current_num_threads(),
            jobs: jobs().count(),
        }
    }
}
