//! What is left of a broker's state after it was killed, and after its disk said no.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

mod child;
mod crash;
mod disk;
mod load;
mod startup;
mod wire;
