//! A bound on work: a schema from a stranger may ask for more steps than anybody will wait for, and for
//! a deeper recursion than any stack has room for.

use std::cell::Cell;

use thiserror::Error;

/// Steps that one check may take; about a second of work.
const STEPS_MAX: u64 = 1_000_000;

/// How deep a walk through types may recurse. Types that name each other make long ways out of flat
/// texts.
const DEPTH_MAX: u32 = 400;

/// The work asked for is out of all proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "schema is too complex: checking it takes more than {STEPS_MAX} steps, or goes deeper than {DEPTH_MAX} types"
)]
pub struct TooComplex;

/// Steps and levels that are left.
#[derive(Debug)]
pub(crate) struct Budget {
    steps: Cell<u64>,
    levels: Cell<u32>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { steps: Cell::new(STEPS_MAX), levels: Cell::new(DEPTH_MAX) }
    }
}

impl Budget {
    /// Takes `steps` of what is left.
    ///
    /// # Errors
    /// If that is more than there is.
    pub(crate) fn take(&self, steps: usize) -> Result<(), TooComplex> {
        let left = self.steps.get().checked_sub(steps as u64).ok_or(TooComplex)?;
        self.steps.set(left);
        Ok(())
    }

    /// Carries out a step one level deeper.
    ///
    /// # Errors
    /// If there is no level left; and those of the step.
    pub(crate) fn deeper<T, E: From<TooComplex>>(&self, step: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let left = self.levels.get().checked_sub(1).ok_or(TooComplex)?;
        self.levels.set(left);
        let done = step();
        self.levels.set(left + 1);
        done
    }
}
