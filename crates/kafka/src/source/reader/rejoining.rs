//! A client that does not read any more, and that another one takes the place of.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tidegate_core::TopicPartition;
use tracing::{error, warn};

use super::rebalance::Duties;
use super::{Open, Reader};
use crate::source::context::SourceContext;

impl Reader {
    /// Finds out whether librdkafka still reads what is open.
    pub(super) fn listen(&mut self) {
        let context = self.consumer.context();
        let deaf = |open: &&Open| context.is_deaf(&open.source);
        if let Some(Open { source, .. }) = self.open.iter().find(deaf) {
            warn!(%source, "librdkafka knows a leader epoch of the topic that had this name before: joining the group anew");
            self.deaf = true;
        }
    }

    /// Lets go of everything, leaves the group, and joins it by a client that knows of no former topic.
    pub(super) fn rejoin(&mut self, consumer: Arc<BaseConsumer<SourceContext>>) {
        self.shared.counters.rejoins.fetch_add(1, Ordering::Relaxed);
        let all: Vec<TopicPartition> = self.open.iter().map(|open| open.source.clone()).collect();
        self.let_go(&all);
        self.shared.ownership.close(&all);
        consumer.context().close();
        match self.member.join() {
            Ok(another) => self.consumer = another,
            Err(error) => {
                error!(%error, "the group is not joined anew");
                self.failed = true;
            }
        }
        drop(consumer);
        (self.duties, self.ids_version, self.deaf) = (Duties::default(), 0, false);
    }
}
