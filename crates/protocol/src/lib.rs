//! The decisions of the delivery protocol, without effects. [`Course`] says what to do next, is told what
//! came of it, and decides. The sink (crate `pipeline`) and the model checker (crate `model`) act by the
//! same [`Course`], so what the checker shows holds for the code.
//!
//! A batch that the server refuses is cut by committing a smaller intent, never by inserting pieces that
//! no checkpoint knows of: whoever goes on after a crash sends the same rows under the same token. Where
//! it is in doubt whether rows have landed, and the server or the table has changed its mind since, the
//! table is asked, if it can be.

//!
//! Small batches of several partitions are sent together as a [`Joint`] one, as long as nothing goes wrong. If anything
//! does, each goes alone from its own intent, and asks the tables.

mod course;
mod joint;

pub use course::{Answer, Course, Effect, Seen};
pub use joint::{Joint, JointEffect, Sent};
