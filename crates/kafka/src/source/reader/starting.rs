//! Where a partition starts is committed when it is decided. A process that died before its first batch would leave
//! nothing of it: the next one would decide anew, at a later end, or behind what retention has taken meanwhile.

use std::time::Instant;

use tidegate_core::{Checkpoint, Fault, FaultKind, TopicPartition};
use tidegate_pipeline::port::Epoch;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{RETRY_DELAY, Reader};

/// A start that is being committed.
pub(super) struct Starting {
    epoch: Epoch,
    source: TopicPartition,
    checkpoint: Checkpoint,
    state: State,
}

enum State {
    /// Sent; the answer is waited for.
    Sent(oneshot::Receiver<Result<(), Fault>>),
    /// Refused, and to be sent again then.
    Again(Instant),
    Done,
}

impl Reader {
    /// Commits a start, without waiting for it: the pipeline may commit behind it.
    pub(super) fn commit_start(&mut self, epoch: Epoch, source: &TopicPartition, checkpoint: &Checkpoint) {
        let (source, checkpoint) = (source.clone(), checkpoint.clone());
        let answer = self.shared.starts.commit(epoch, source.clone(), checkpoint.clone());
        self.starting.push(Starting { epoch, source, checkpoint, state: State::Sent(answer) });
    }

    /// Hears what became of starts, and sends again what was refused, for as long as the partition is ours.
    pub(super) fn follow_starts(&mut self) {
        let mut starting = std::mem::take(&mut self.starting);
        for start in &mut starting {
            let answer = match &mut start.state {
                State::Sent(answer) => answer.try_recv(),
                State::Again(at) if *at <= Instant::now() => {
                    let (source, checkpoint) = (start.source.clone(), start.checkpoint.clone());
                    start.state = State::Sent(self.shared.starts.commit(start.epoch, source, checkpoint));
                    continue;
                }
                State::Again(_) | State::Done => continue,
            };
            start.state = match answer {
                Err(TryRecvError::Empty) => continue,
                Ok(Err(fault)) if fault.kind != FaultKind::Fenced => {
                    self.tell(fault);
                    State::Again(Instant::now() + RETRY_DELAY)
                }
                // Who is fenced starts anew, if at all; and a committer that is gone takes nothing more.
                Ok(_) | Err(TryRecvError::Closed) => State::Done,
            };
        }
        starting.retain(|start| !matches!(start.state, State::Done));
        self.starting.append(&mut starting);
    }
}
