//! One line that says how far long work is: rewritten on a terminal, one line a step elsewhere.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::text::{bar, count, cut};

/// A step of long work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What is being done: `publishing events`.
    pub label: String,
    /// How much is done.
    pub done: u64,
    /// Of how much, if that is known.
    pub total: Option<u64>,
}

impl Step {
    /// A step without an end that could be counted.
    #[must_use]
    pub fn new(label: impl Into<String>) -> Self {
        Self { label: label.into(), done: 0, total: None }
    }

    /// A step that is `done` of `total` through.
    #[must_use]
    pub fn counted(label: impl Into<String>, done: u64, total: u64) -> Self {
        Self { label: label.into(), done, total: Some(total) }
    }

    fn line(&self, width: usize) -> String {
        const BAR_WIDTH: usize = 20;
        let Some(total) = self.total else { return cut(&format!("{:<32}…", self.label), width) };
        let bar = bar(self.done.min(total), total, BAR_WIDTH);
        cut(&format!("{:<32}{bar:<BAR_WIDTH$} {} of {}", self.label, count(self.done), count(total)), width)
    }
}

/// The progress line. A write that fails is not worth stopping for, so none is reported.
#[derive(Debug)]
pub struct Progress<W: Write> {
    out: W,
    terminal: bool,
    /// The last step shown, and when.
    shown: Option<(Step, Instant)>,
}

/// Faster than anyone reads.
const EVERY: Duration = Duration::from_millis(100);
const WIDTH: usize = 79;

impl Progress<io::Stderr> {
    /// Progress on standard error.
    #[must_use]
    pub fn on_stderr() -> Self {
        Self::new(io::stderr(), io::stderr().is_terminal())
    }
}

impl<W: Write> Progress<W> {
    /// Progress on `out`, rewritten in place if it is a terminal.
    #[must_use]
    pub const fn new(out: W, terminal: bool) -> Self {
        Self { out, terminal, shown: None }
    }

    /// Shows the step; calls that follow too fast on one another are left out.
    pub fn show(&mut self, step: Step, now: Instant) {
        let same_label = self.shown.as_ref().is_some_and(|(shown, _)| shown.label == step.label);
        let complete = step.total.is_some_and(|total| step.done >= total);
        let due = self.shown.as_ref().is_none_or(|(_, at)| now.saturating_duration_since(*at) >= EVERY);
        if self.terminal {
            if same_label && !due && !complete {
                return;
            }
            let _ = write!(self.out, "\r\x1b[2K{}", step.line(WIDTH));
            let _ = self.out.flush();
        } else if !same_label {
            let _ = writeln!(self.out, "{}", step.label);
        }
        self.shown = Some((step, now));
    }

    /// Takes the line away, so that what follows stands alone.
    pub fn clear(&mut self) {
        if self.terminal && self.shown.take().is_some() {
            let _ = write!(self.out, "\r\x1b[2K");
            let _ = self.out.flush();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_line_is_rewritten_no_faster_than_one_reads() {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, true);
        let start = Instant::now();
        progress.show(Step::counted("publishing events", 0, 10), start);
        progress.show(Step::counted("publishing events", 1, 10), start + Duration::from_millis(1));
        progress.show(Step::counted("publishing events", 10, 10), start + Duration::from_millis(2));
        progress.clear();
        let text = String::from_utf8(out).unwrap();
        assert!(!text.contains("1 of 10") && text.contains("10 of 10"), "{text:?}");
        assert!(text.ends_with("\r\x1b[2K"), "{text:?}");
    }

    #[test]
    fn a_pipe_gets_one_line_a_step() {
        let mut out = Vec::new();
        let mut progress = Progress::new(&mut out, false);
        for done in 0..5 {
            progress.show(Step::counted("publishing events", done, 5), Instant::now());
        }
        progress.show(Step::new("starting ClickHouse"), Instant::now());
        progress.clear();
        assert_eq!(String::from_utf8(out).unwrap(), "publishing events\nstarting ClickHouse\n");
    }
}
