//! A bound on work: a schema from a stranger may ask for more steps than anybody will wait for.

use std::cell::Cell;

use thiserror::Error;

/// Steps that one check may take; about a second of work.
const STEPS_MAX: u64 = 1_000_000;

/// The work asked for is out of all proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("schema is too complex: checking it takes more than {STEPS_MAX} steps")]
pub struct TooComplex;

/// Steps that are left.
#[derive(Debug)]
pub(crate) struct Budget(Cell<u64>);

impl Default for Budget {
    fn default() -> Self {
        Self(Cell::new(STEPS_MAX))
    }
}

impl Budget {
    /// Takes `steps` of what is left.
    ///
    /// # Errors
    /// If that is more than there is.
    pub(crate) fn take(&self, steps: usize) -> Result<(), TooComplex> {
        let left = self.0.get().checked_sub(steps as u64).ok_or(TooComplex)?;
        self.0.set(left);
        Ok(())
    }
}
