//! Which records of a partition have dead letters already.

use tidegate_core::{Fault, FaultKind, OffsetRange, OffsetSet, TopicPartition};

use crate::admin::KafkaAdmin;
use crate::bounded::{BoundedReader, ReadFrom};
use crate::dead_letter::DeadLetterRecord;
use crate::options::{KafkaOptions, OptionsError};

/// The letters of one group.
#[derive(Debug, Clone)]
pub(crate) struct GroupLetters {
    pub options: KafkaOptions,
    pub topic: String,
    pub group: String,
}

impl GroupLetters {
    /// The offsets of `range` whose records have letters. Reads the whole topic, once no transaction that is
    /// open now hides any of it: a letter that is not seen would be written twice.
    pub(crate) async fn offsets(
        &self,
        source: &TopicPartition,
        range: OffsetRange,
    ) -> Result<OffsetSet, Fault> {
        let unusable = |error: OptionsError| Fault::new(FaultKind::Denied, error.to_string());
        let admin = KafkaAdmin::connect(&self.options).map_err(unusable)?;
        admin.await_transactions(&self.topic).await?;
        let mut reader =
            BoundedReader::open(&self.options, &self.topic, ReadFrom::Beginning).map_err(unusable)?;
        let mut offsets = Vec::new();
        while let Some(records) = reader.next().await {
            for record in records?.iter() {
                // What other programs write into the topic is no letter of ours.
                let Ok(letter) = DeadLetterRecord::parse(record) else { continue };
                let ours = letter.group.as_ref() == Some(&self.group) && letter.provenance.source == *source;
                if ours && range.contains(letter.provenance.offset) {
                    offsets.push(letter.provenance.offset);
                }
            }
        }
        Ok(offsets.into_iter().collect())
    }
}
