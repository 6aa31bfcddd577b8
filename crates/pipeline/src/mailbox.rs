//! The way from a connector to a partition's loop, bounded by what waits in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tidegate_core::Records;
use tokio::sync::{Notify, mpsc};

use crate::budget::{Budget, Held};

/// What reaches a partition's loop.
#[derive(Debug)]
pub(crate) enum Mail {
    /// The next records.
    Records {
        /// The records.
        records: Records,
        /// What they hold of the budget.
        held: Held,
        /// Their room in the mailbox, once they are in it.
        place: Option<Place>,
    },
    /// No offset before `position` will come any more.
    CaughtUp {
        /// The next offset that will be read.
        position: i64,
    },
}

/// A connector's end. It takes [`Budget::mailbox_bytes_max`] of records: while a batch is full and the one before it
/// under way, the next one's records wait here, and those of other partitions get past them.
#[derive(Debug)]
pub(crate) struct Mailbox {
    sender: mpsc::UnboundedSender<Mail>,
    waiting: Arc<Waiting>,
    budget: Budget,
}

/// The loop's end.
pub(crate) type Mails = mpsc::UnboundedReceiver<Mail>;

/// Why mail was not taken.
#[derive(Debug)]
pub(crate) enum Unsent {
    /// There is no room for it.
    Full(Mail),
    /// Nobody reads it any more.
    Closed,
}

/// Records' room in a mailbox; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    waiting: Arc<Waiting>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    left: Notify,
}

/// A mailbox whose room follows the budget's share of a partition.
pub(crate) fn channel(budget: &Budget) -> (Mailbox, Mails) {
    let (sender, mails) = mpsc::unbounded_channel();
    (Mailbox { sender, waiting: Arc::default(), budget: budget.clone() }, mails)
}

impl Mailbox {
    /// Puts mail in, or waits at most `patience` until there is room for it.
    pub(crate) async fn send(&self, mail: Mail, patience: Duration) -> Result<(), Unsent> {
        let room = async {
            loop {
                // Whoever leaves while the room is looked at wakes this.
                let left = self.waiting.left.notified();
                if self.has_room(&mail) || self.sender.is_closed() {
                    return;
                }
                tokio::select! {
                    () = left => {}
                    () = self.sender.closed() => {}
                }
            }
        };
        // Where the patience ends, `try_send` finds no room either.
        let _ = tokio::time::timeout(patience, room).await;
        self.try_send(mail)
    }

    /// Puts mail in if there is room for it.
    pub(crate) fn try_send(&self, mut mail: Mail) -> Result<(), Unsent> {
        if !self.has_room(&mail) {
            return Err(Unsent::Full(mail));
        }
        if let Mail::Records { records, place, .. } = &mut mail {
            let bytes = records.size_bytes();
            self.waiting.bytes.fetch_add(bytes, Ordering::Relaxed);
            *place = Some(Place { waiting: Arc::clone(&self.waiting), bytes });
        }
        self.sender.send(mail).map_err(|_| Unsent::Closed)
    }

    /// An empty mailbox takes records of any size.
    fn has_room(&self, mail: &Mail) -> bool {
        let waiting = self.waiting.bytes.load(Ordering::Relaxed);
        match mail {
            Mail::Records { records, .. } => {
                waiting == 0 || waiting + records.size_bytes() <= self.budget.mailbox_bytes_max()
            }
            Mail::CaughtUp { .. } => true,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.waiting.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.waiting.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::TopicPartition;

    use super::*;

    fn records(n_bytes: usize) -> Mail {
        let mut records = Records::new(TopicPartition::new("events", 0));
        records.push(0, None, None, Some(&vec![b' '; n_bytes]), []);
        Mail::Records { records, held: Budget::new(0).hold(), place: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_mailbox_takes_one_batch_and_gives_back_what_was_read() {
        let budget = Budget::new(60_000);
        let (mailbox, mut mails) = channel(&budget);
        for _ in 0..2 {
            mailbox.try_send(records(4_000)).expect("there is room");
        }
        assert!(
            matches!(mailbox.try_send(records(4_000)), Err(Unsent::Full(_))),
            "10,000 bytes are one batch"
        );
        assert!(matches!(mailbox.send(records(4_000), Duration::from_secs(2)).await, Err(Unsent::Full(_))));
        let read = mails.recv().await;
        assert!(matches!(mailbox.try_send(records(4_000)), Err(Unsent::Full(_))), "it is being worked on");
        let (sent, ()) =
            tokio::join!(mailbox.send(records(4_000), Duration::from_secs(2)), async { drop(read) });
        sent.expect("there is room again");
    }

    #[tokio::test]
    async fn records_larger_than_a_batch_pass_when_nothing_else_waits() {
        let (mailbox, mut mails) = channel(&Budget::new(60));
        mailbox.try_send(records(4_000)).expect("the mailbox is empty");
        assert!(matches!(mailbox.try_send(records(1)), Err(Unsent::Full(_))));
        mailbox.try_send(Mail::CaughtUp { position: 1 }).expect("it holds no records");
        drop(mails.recv().await);
        mailbox.try_send(records(4_000)).expect("the mailbox has no records");
        drop(mails);
        assert!(matches!(mailbox.try_send(Mail::CaughtUp { position: 2 }), Err(Unsent::Closed)));
    }
}
