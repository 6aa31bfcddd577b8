//! Reports as text for people. Functions of a report and a [`Look`]; what is printed where is decided by
//! the caller. Everything that came out of a record is escaped, so that no event can steer a terminal.

mod coverage;
mod demo;
mod dlq;
mod inferred;
mod ledger;
mod machine;
mod metrics;
mod offsets;
mod plot;
mod progress;
mod text;

use std::io::IsTerminal;

pub use coverage::coverage;
pub use demo::demo;
pub use dlq::{dlq_list, dlq_replay, dlq_show, halt};
pub use inferred::inferred;
pub use ledger::ledger;
pub use machine::{status, up};
pub use metrics::{csv, list, sql, table};
pub use offsets::{offsets, reset};
pub use plot::plot;
pub use progress::{Progress, Step};

use crate::cli::ColorChoice;

/// How wide a text may be, and whether it is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Characters a line.
    pub width: usize,
    /// Whether colours are used.
    pub color: bool,
}

impl Look {
    /// Without colours, 88 characters wide: for files and pipes.
    pub const PLAIN: Self = Self { width: 88, color: false };

    /// The look for standard output, whatever that is.
    #[must_use]
    pub fn for_stdout(choice: ColorChoice) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let width = terminal_size::terminal_size().map_or(Self::PLAIN.width, |(width, _)| width.0.into());
        Self { width: width.clamp(76, 100), color: colored(choice, terminal, no_color) }
    }
}

const fn colored(choice: ColorChoice, terminal: bool, no_color: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && !no_color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_needs_a_terminal_or_a_wish() {
        assert!(colored(ColorChoice::Auto, true, false));
        assert!(!colored(ColorChoice::Auto, true, true));
        assert!(!colored(ColorChoice::Auto, false, false));
        assert!(colored(ColorChoice::Always, false, true));
        assert!(!colored(ColorChoice::Never, true, false));
    }
}
