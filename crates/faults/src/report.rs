//! The account for people and for programs.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::Serialize;

use crate::check::{Breach, Verdict};
use crate::tally::Blow;
use crate::world::World;

/// How many breaches of a kind are shown.
const SHOWN: usize = 10;

/// The outcome of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    seed: u64,
    minutes: f64,
    faults: BTreeMap<Blow, u64>,
    /// How many different exception codes inserts were answered with.
    exception_codes: usize,
    topics: BTreeMap<String, Verdict>,
}

impl Report {
    pub(crate) fn new(world: &World, topics: BTreeMap<String, Verdict>) -> Self {
        Self {
            seed: world.plan.seed,
            minutes: (world.tally.elapsed().as_secs_f64() / 6.0).round() / 10.0,
            faults: world.tally.blows(),
            exception_codes: world.tally.n_codes(),
            topics,
        }
    }

    pub(crate) fn holds(&self) -> bool {
        self.topics.values().all(Verdict::holds)
    }

    pub(crate) fn print(&self, json: bool) -> anyhow::Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
        } else {
            print!("{}", self.text()?);
        }
        Ok(())
    }

    fn text(&self) -> anyhow::Result<String> {
        let mut lines = vec![format!("seed {}, {} minutes", self.seed, self.minutes), String::new()];
        for (blow, count) in &self.faults {
            lines.push(format!("{:<22} {count:>7}", word(blow)?));
        }
        lines.push(format!("{:<22} {:>7}", "different exceptions", self.exception_codes));
        lines.push(String::new());
        lines.push(format!(
            "{:<18} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {:>6}",
            "topic", "records", "rows", "letters", "gone", "lost", "twice", "both", "order", "other"
        ));
        for (name, verdict) in &self.topics {
            let n = |breach| verdict.breaches.get(&breach).map_or(0, Vec::len);
            let other = n(Breach::WrongPlace) + n(Breach::Altered) + n(Breach::Stranger);
            lines.push(format!(
                "{name:<18} {:>8} {:>8} {:>8} {:>8} {:>6} {:>6} {:>6} {:>6} {other:>6}",
                verdict.records,
                verdict.rows,
                verdict.letters,
                verdict.gone,
                n(Breach::Lost),
                n(Breach::Twice),
                n(Breach::InBoth),
                n(Breach::OutOfOrder),
            ));
        }
        for (name, verdict) in &self.topics {
            for (breach, all) in &verdict.breaches {
                lines.push(String::new());
                lines.push(format!("{name}: {} {}", all.len(), word(breach)?));
                lines.extend(all.iter().take(SHOWN).map(|what| format!("  {what}")));
            }
        }
        Ok(lines.join("\n") + "\n")
    }
}

/// The name that JSON has for it, as words.
fn word(name: &impl Serialize) -> anyhow::Result<String> {
    let name = serde_json::to_value(name)?;
    Ok(name.as_str().context("a name is a text")?.replace('_', " "))
}
