//! Values by chance, of the schema that they are written with: the lines of `tidegate produce --sample`.

use std::sync::Arc;

use anyhow::Context;
use tidegate_codec::{ProtobufMessages, sample_avro, sample_protobuf};
use tidegate_languages::avro::AvroSchema;
use tidegate_schema::{Chance, Sampler};

/// What a sample is drawn from.
pub enum Drawn {
    /// An Avro schema.
    Avro(Arc<AvroSchema>),
    /// A JSON Schema.
    Json(Box<Sampler>),
    /// A message of a Protobuf schema, by its path.
    Protobuf(Arc<ProtobufMessages>, Vec<usize>),
}

/// A line for each draw. The same seed draws the same lines.
pub struct Samples {
    drawn: Drawn,
    chance: Chance,
    /// How many keys there are; none if the samples have none.
    n_keys: Option<usize>,
}

impl Samples {
    /// Samples of a schema, with so many keys.
    pub const fn new(drawn: Drawn, seed: u64, n_keys: Option<usize>) -> Self {
        Self { drawn, chance: Chance::new(seed), n_keys }
    }

    /// The next one's key and value.
    ///
    /// # Errors
    /// If no value of the schema was found.
    pub fn draw(&mut self) -> anyhow::Result<(Option<String>, String)> {
        let key = self.n_keys.map(|n| format!("key-{}", self.chance.below(n) + 1));
        let endless = "the schema needs itself without end, and has no value";
        let text = match &self.drawn {
            Drawn::Avro(schema) => sample_avro(schema, &mut self.chance).context(endless)?,
            Drawn::Protobuf(types, path) => {
                sample_protobuf(types, path, &mut self.chance).context(endless)?
            }
            Drawn::Json(sampler) => {
                let sample = sampler.sample(&mut self.chance);
                sample.context("draw a sample; give lines with --file, or another --seed")?.to_string()
            }
        };
        Ok((key, text))
    }
}
