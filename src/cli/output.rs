//! Results to standard output, messages to standard error.

use crate::error::{Error, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Where a command's words go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// Results are JSON lines, and people's text goes to standard error.
    pub(super) json: bool,
}

impl Output {
    /// A line of people's text: a result, unless JSON is asked for.
    pub(super) fn text(self, text: impl AsRef<str>) -> Result<()> {
        if self.json {
            eprintln!("{}", text.as_ref());
            return Ok(());
        }
        line(text.as_ref())
    }

    /// A JSON object on a line, where JSON is asked for.
    pub(super) fn object(self, object: &impl Serialize) -> Result<()> {
        if !self.json {
            return Ok(());
        }
        let text = serde_json::to_string(object)
            .map_err(|error| Error::Data(format!("cannot write JSON: {error}")))?;
        line(&text)
    }
}

fn line(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.write_all(b"\n"));
    written
        .and_then(|()| stdout.flush())
        .map_err(Error::io("write", "standard output"))
}

/// A message beside the results.
pub(super) fn note(text: impl AsRef<str>) {
    eprintln!("{}", text.as_ref());
}

/// A progress bar on standard error; hidden where that is not a terminal.
pub(super) fn progress_bar(len: usize, template: &str) -> ProgressBar {
    let terminal = std::io::stderr().is_terminal();
    let target = if terminal {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(len as u64), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    if terminal {
        bar.enable_steady_tick(Duration::from_millis(200));
    }
    bar
}
