//! Faults by chance, from a seed: effects that fail before or after they took place, or come late.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_core::{Fault, FaultKind};

/// What becomes of effects. Clones share the chance.
#[derive(Debug, Clone)]
pub struct Weather {
    chance: Arc<Mutex<fastrand::Rng>>,
    /// How often an effect fails, in `[0, 1]`; half of the time after it took place.
    faults: f64,
    /// How late an effect may be.
    delay_max: Duration,
    /// How often an effect that fails is half done, in `[0, 1]`.
    halves: f64,
}

/// What becomes of one effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// It takes place.
    Fine,
    /// It fails, and does not take place.
    Prevented(FaultKind),
    /// It takes place, and its answer is lost.
    Unheard,
    /// Whoever was to carry it out is killed in the middle of it: a token is noted, and its rows are not there.
    HalfDone,
}

impl Weather {
    /// Nothing fails, nothing is late.
    #[must_use]
    pub fn calm() -> Self {
        Self::seeded(0, 0.0, Duration::ZERO)
    }

    /// Weather that follows from a seed.
    #[must_use]
    pub fn seeded(seed: u64, faults: f64, delay_max: Duration) -> Self {
        Self { chance: Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))), faults, delay_max, halves: 0.0 }
    }

    /// The same weather, in which so many of the effects that fail are half done.
    #[must_use]
    pub fn deadly(&self, halves: f64) -> Self {
        Self { halves, ..self.clone() }
    }

    /// What becomes of the next effect, and how late it is.
    #[must_use]
    pub fn next(&self) -> (Stroke, Duration) {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let delay = self.delay_max.mul_f64(chance.f64());
        if chance.f64() >= self.faults {
            return (Stroke::Fine, delay);
        }
        if self.halves > 0.0 && chance.f64() < self.halves {
            return (Stroke::HalfDone, delay);
        }
        let kinds = [FaultKind::Network, FaultKind::Overload, FaultKind::Unavailable, FaultKind::Denied];
        let kind = kinds[chance.usize(..kinds.len())];
        (if chance.bool() { Stroke::Unheard } else { Stroke::Prevented(kind) }, delay)
    }
}

impl Stroke {
    /// Lets `apply` take place or not.
    pub(crate) fn strike<T, E>(
        self,
        apply: impl FnOnce() -> Result<T, E>,
        failed: impl FnOnce(Fault) -> E,
    ) -> Result<T, E> {
        match self {
            Self::Fine => apply(),
            Self::Prevented(kind) => Err(failed(Fault::new(kind, "prevented"))),
            // A refusal that nobody hears of is a fault as well.
            Self::Unheard | Self::HalfDone => {
                drop(apply());
                Err(failed(Fault::new(FaultKind::Network, "the answer was lost")))
            }
        }
    }
}
