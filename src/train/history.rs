//! The course of a run, one line an epoch, and its file `history.csv`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::io::atomic;

/// What one pass over the training part gave. The names are the columns of `history.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Epoch {
    /// Counted from 1.
    pub epoch: usize,
    /// Mean cross-entropy of the training segments in nats, as the steps saw them: dropout on, weights moving.
    pub loss: f64,
    /// Share of the training segments named rightly, 0 to 1, as the steps saw them.
    pub accuracy: f64,
    /// Mean cross-entropy of the validation segments in nats, after the epoch; NaN without a validation part.
    pub val_loss: f64,
    /// Share of the validation segments named rightly, 0 to 1, after the epoch; NaN without a validation part.
    pub val_accuracy: f64,
    /// The learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Wall time of the epoch with its validation, in seconds.
    pub seconds: f64,
}

/// The epochs of a run in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct History(pub Vec<Epoch>);

impl History {
    /// The epoch with the highest validation accuracy, the earliest of equals; `None` where no epoch has one
    /// (NaN counts as none).
    pub fn best(&self) -> Option<&Epoch> {
        self.0
            .iter()
            .filter(|epoch| !epoch.val_accuracy.is_nan())
            .reduce(|best, epoch| {
                if epoch.val_accuracy > best.val_accuracy {
                    epoch
                } else {
                    best
                }
            })
    }

    /// Writes the epochs as CSV with a header, whole or not at all. Numbers have as many digits as it takes to
    /// read the same bits back.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn write_csv(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let refused = |error: csv::Error| Error::file(path, format!("cannot be written: {error}"));
        let mut writer = csv::Writer::from_writer(Vec::new());
        if self.0.is_empty() {
            writer.write_record(COLUMNS).map_err(refused)?;
        }
        for epoch in &self.0 {
            writer.serialize(epoch).map_err(refused)?;
        }
        let bytes = writer
            .into_inner()
            .map_err(|error| Error::io("write", path)(error.into_error()))?;
        atomic::write(path, &bytes)
    }

    /// Reads what [`History::write_csv`] wrote; the columns may stand in any order.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read, [`Error::File`] with the line where a line is cut off, a
    /// column is missing or unknown, a value is no number, or the epochs do not count 1, 2, 3.
    pub fn read_csv(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader
            .headers()
            .map_err(|error| Error::file(path, format!("line 1: {}", reason(&error, None))))?
            .clone();
        if let Some(missing) = COLUMNS
            .iter()
            .find(|name| !header.iter().any(|h| h == **name))
        {
            return Err(Error::file(
                path,
                format!(
                    "line 1: column '{missing}' is missing; a history has {}",
                    COLUMNS.join(",")
                ),
            ));
        }
        let mut epochs = Vec::new();
        for record in reader.deserialize::<Epoch>() {
            let line = epochs.len() as u64 + 2;
            let epoch = record.map_err(|error| {
                let line = error.position().map_or(line, csv::Position::line);
                Error::file(
                    path,
                    format!("line {line}: {}", reason(&error, Some(&header))),
                )
            })?;
            if epoch.epoch != epochs.len() + 1 {
                return Err(Error::file(
                    path,
                    format!(
                        "line {line}: epoch {} stands where epoch {} belongs",
                        epoch.epoch,
                        epochs.len() + 1
                    ),
                ));
            }
            epochs.push(epoch);
        }
        Ok(Self(epochs))
    }
}

/// The columns of `history.csv`, as [`Epoch`] orders them.
const COLUMNS: [&str; 7] = [
    "epoch",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
    "seconds",
];

/// What is wrong with a line, without the line number that the caller puts before it.
fn reason(error: &csv::Error, header: Option<&csv::StringRecord>) -> String {
    match error.kind() {
        csv::ErrorKind::UnequalLengths {
            expected_len, len, ..
        } => {
            format!(
                "{len} values where the header has {expected_len}: the file is cut off or edited"
            )
        }
        csv::ErrorKind::Utf8 { .. } => "not UTF-8 text".into(),
        csv::ErrorKind::Deserialize { err, .. } => {
            let column = err
                .field()
                .and_then(|field| header?.get(usize::try_from(field).ok()?));
            match column {
                Some(column) => format!("column '{column}': {}", err.kind()),
                None => err.kind().to_string(),
            }
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(epoch: usize, val_accuracy: f64) -> Epoch {
        Epoch {
            epoch,
            loss: 1.0 / 3.0,
            accuracy: 0.1 + 0.2,
            val_loss: 2.5e-310,
            val_accuracy,
            learning_rate: 0.005,
            seconds: 1.25,
        }
    }

    #[test]
    fn reads_back_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("history.csv");
        let history = History(vec![
            epoch(1, 0.5),
            epoch(2, 1e-17),
            epoch(3, f64::INFINITY),
        ]);
        history.write_csv(&path).unwrap();
        assert_eq!(History::read_csv(&path).unwrap(), history);

        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds\n1,")
        );

        History(vec![epoch(1, f64::NAN)]).write_csv(&path).unwrap();
        assert!(History::read_csv(&path).unwrap().0[0].val_accuracy.is_nan());

        History::default().write_csv(&path).unwrap();
        assert_eq!(History::read_csv(&path).unwrap(), History::default());
    }

    #[test]
    fn the_best_epoch_is_the_first_of_equals_and_never_nan() {
        assert_eq!(History::default().best(), None);
        assert_eq!(History(vec![epoch(1, f64::NAN)]).best(), None);
        let history = History(vec![
            epoch(1, f64::NAN),
            epoch(2, 0.7),
            epoch(3, 0.8),
            epoch(4, 0.8),
            epoch(5, 0.1),
        ]);
        assert_eq!(history.best().unwrap().epoch, 3);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let header = COLUMNS.join(",");
        let good = "1,1,1,1,1,1,1";
        let cases = [
            ("".into(), "line 1: column 'epoch' is missing"),
            (
                "epoch,loss\n1,2\n".into(),
                "line 1: column 'accuracy' is missing",
            ),
            (
                format!("{header}\n{good}\n2,0.5,0.\n"),
                "line 3: 3 values where the header has 7",
            ),
            (
                format!("{header}\n{good}\n2,1,1,many,1,1,1\n"),
                "line 3: column 'val_loss': invalid float",
            ),
            (
                format!("{header}\n{good}\n\n3,1,1,1,1,1,1\n"),
                "epoch 3 stands where epoch 2 belongs",
            ),
            (
                format!("{header}\n-1,1,1,1,1,1,1\n"),
                "line 2: column 'epoch': invalid digit",
            ),
            (
                format!("{header},extra\n{good},1\n"),
                "line 2: unknown field `extra`",
            ),
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("broken.csv");
        for (text, expected) in cases {
            let text: String = text;
            std::fs::write(&path, &text).unwrap();
            let message = History::read_csv(&path).unwrap_err().to_string();
            assert!(message.contains("broken.csv: "), "{message}");
            assert!(message.contains(expected), "{message}\n  lacks: {expected}");
        }
        std::fs::write(&path, [header.as_bytes(), b"\n1,\xff,1,1,1,1,1\n"].concat()).unwrap();
        let message = History::read_csv(&path).unwrap_err().to_string();
        assert!(message.contains("line 2: not UTF-8"), "{message}");

        let missing = History::read_csv(folder.path().join("none.csv")).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read "), "{missing}");
    }
}
