//! A name that another topic takes while the old one is read.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use tidegate_core::{Fault, TopicPartition};

use super::Reader;
use crate::fault::fault;

/// How long the client's log is listened to for what it says of topics that were asked for. Usually one wait for the
/// empty queue is enough.
const LISTEN_MAX: Duration = Duration::from_secs(2);

/// A queue that gives nothing for so long is empty.
const EMPTY_AFTER: Duration = Duration::from_millis(5);

impl Reader {
    /// Finds out of which partitions the topic is another one now. They begin anew; until then nothing is taken.
    pub(super) fn compare_ids(&mut self) {
        let ids = &self.consumer.context().ids;
        let version = ids.version();
        if self.ids_version == version {
            return;
        }
        self.ids_version = version;
        for open in &mut self.open {
            if ids.replaced(&open.source, open.topic.as_ref()) {
                open.replaced = true;
                self.duties.check_range();
            }
        }
    }

    /// Asks Kafka which topics have the names of these partitions, and hears the answers. Records that come meanwhile
    /// are taken.
    pub(super) fn identify(&mut self, partitions: &[TopicPartition], timeout: Duration) -> Result<(), Fault> {
        let topics: BTreeSet<&str> = partitions.iter().map(|partition| &*partition.topic).collect();
        for topic in topics {
            // A topic that is not there has no offsets either, which is told.
            let asked = self.consumer.fetch_metadata(Some(topic), timeout);
            asked.map_err(|error| fault(&error, &format!("look up topic `{topic}`")))?;
        }
        let consumer = Arc::clone(&self.consumer);
        let deadline = Instant::now() + LISTEN_MAX;
        while Instant::now() < deadline {
            let served = consumer.context().served();
            match consumer.poll(EMPTY_AFTER) {
                Some(Ok(message)) => self.take(&message),
                Some(Err(error)) => self.hear(&error),
                None if consumer.context().served() == served => break,
                None => {}
            }
        }
        self.compare_ids();
        Ok(())
    }
}
