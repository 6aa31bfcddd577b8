//! Registrations that come at once are written at once.
//!
//! A write takes a round trip to Kafka and back, whatever it holds. Whoever gets the turn decides for all
//! that wait for it, one after the other, and writes what has nothing to do with each other together: of
//! two registrations that touch one subject or one schema the second is decided when the state has the
//! first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use crate::command::SchemaRequest;
use crate::command::register::{self, Outcome, Taken};
use crate::problem::Problem;
use crate::record::Record;
use crate::service::Registry;
use crate::state::Version;
use crate::subject::Subject;

/// How often a registration is decided anew when another registry was faster.
const TRIES_MAX: usize = 5;

/// How many registrations are written together at most.
const TOGETHER_MAX: usize = 256;

/// How many bytes of text they may have before no more are added: far below what a producer queues.
const TOGETHER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long they are decided before they are written: the first one waits for the last.
const DECIDING_MAX: Duration = Duration::from_millis(20);

/// A version with what is stored as it.
type Registered = Result<(i32, Version), Problem>;

/// Registrations in the order in which they came.
#[derive(Default)]
pub(super) struct Queue(Mutex<VecDeque<Pending>>);

struct Pending {
    subject: Subject,
    request: SchemaRequest,
    normalize: bool,
    n_tries: usize,
    answer: oneshot::Sender<Registered>,
}

/// A registration with what it came to.
struct Decided {
    pending: Pending,
    version: i32,
    entry: Version,
    records: Vec<Record>,
}

impl Pending {
    fn answer(self, registered: Registered) {
        // Whoever asked may be gone; what was written stands.
        let _gone = self.answer.send(registered);
    }
}

impl Queue {
    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Pending>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Registers a schema.
    ///
    /// # Errors
    /// As of [`register::register`], or if the log cannot be written.
    pub async fn register(
        self: &Arc<Self>,
        subject: &Subject,
        request: SchemaRequest,
        normalize: bool,
    ) -> Registered {
        // What is known already, or wrong, needs no turn.
        if let Outcome::Known { version, entry } = self.decided(subject, &request, normalize).await? {
            return Ok((version, entry));
        }
        let (answer, mut answered) = oneshot::channel();
        let subject = subject.clone();
        self.queue.lock().push_back(Pending { subject, request, normalize, n_tries: 0, answer });
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let registry = Arc::clone(self);
        // On a task of its own: whoever asked may go away, and the others wait for an answer.
        let working = tokio::spawn(async move {
            let answer = loop {
                match answered.try_recv() {
                    Ok(answer) => break answer,
                    Err(TryRecvError::Empty) => registry.register_together().await,
                    Err(TryRecvError::Closed) => break Err(Problem::new(500, "Internal Server Error")),
                }
            };
            drop(turn);
            answer
        });
        working.await.unwrap_or_else(|panic| {
            tracing::error!(error = %panic, "a registration failed");
            Err(Problem::new(500, "Internal Server Error"))
        })
    }

    /// What registering a schema would come to.
    ///
    /// # Errors
    /// As of [`register::register`].
    pub async fn decided(
        self: &Arc<Self>,
        subject: &Subject,
        request: &SchemaRequest,
        normalize: bool,
    ) -> Result<Outcome, Problem> {
        let (subject, request) = (subject.clone(), request.clone());
        self.compute(move |registry| registry.decide(&subject, &request, (normalize, &Taken::default())))
            .await
    }

    fn decide(
        &self,
        subject: &Subject,
        request: &SchemaRequest,
        how: (bool, &Taken),
    ) -> Result<Outcome, Problem> {
        register::register(&self.shared, &self.library, subject, request, how)
    }

    /// Decides and writes those that wait longest. At least one of them is answered, or tried once more.
    /// The caller has the turn.
    async fn register_together(self: &Arc<Self>) {
        let decided = self.compute(|registry| Ok(registry.decide_together())).await.unwrap_or_default();
        let records: Vec<&[Record]> = decided.iter().map(|one| one.records.as_slice()).collect();
        let written = self.write_each(&records).await;
        for (decided, written) in decided.into_iter().zip(written).rev() {
            match written {
                Ok(()) => self.conclude(decided),
                Err(problem) => decided.pending.answer(Err(problem)),
            }
        }
    }

    /// Takes from the queue what can be written together, and answers what needs no writing.
    fn decide_together(&self) -> Vec<Decided> {
        let (began, mut taken, mut n_bytes) = (Instant::now(), Taken::default(), 0);
        let (mut decided, mut later) = (Vec::new(), Vec::new());
        while decided.len() < TOGETHER_MAX && n_bytes < TOGETHER_BYTES_MAX && began.elapsed() < DECIDING_MAX {
            let Some(pending) = self.queue.lock().pop_front() else { break };
            match self.decide(&pending.subject, &pending.request, (pending.normalize, &taken)) {
                Ok(Outcome::Later) => later.push(pending),
                Ok(Outcome::New { version, entry, records }) => {
                    taken.add(&pending.subject, &pending.request, &entry);
                    n_bytes += entry.schema.text.len();
                    decided.push(Decided { pending, version, entry, records });
                }
                Ok(Outcome::Known { version, entry }) => pending.answer(Ok((version, entry))),
                Err(problem) => pending.answer(Err(problem)),
            }
        }
        let mut queue = self.queue.lock();
        later.into_iter().rev().for_each(|pending| queue.push_front(pending));
        decided
    }

    /// Answers with what is stored. If another registry was faster, the registration is decided anew.
    fn conclude(&self, decided: Decided) {
        let Decided { mut pending, version, entry, .. } = decided;
        let stored = {
            let state = self.shared.read();
            let versions = state.versions(&pending.subject);
            versions.and_then(|versions| versions.get(&version)).cloned()
        };
        pending.n_tries += 1;
        match stored.filter(|stored| stored.schema.guid == entry.schema.guid) {
            Some(entry) => pending.answer(Ok((version, entry))),
            None if pending.n_tries < TRIES_MAX => self.queue.lock().push_front(pending),
            None => pending
                .answer(Err(Problem::new(50001, "another registry writes to the same topic; ids collide"))),
        }
    }
}
