//! The model as a drawing: who sends events, what facts are made of them, what is summed up.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::dictionary::escaped;
use crate::catalog::Catalog;

const WIDTH: usize = 250;
const GAP: usize = 110;
const HEIGHT: usize = 46;
const STEP: usize = 62;

struct Tile {
    key: String,
    title: String,
    line: String,
    link: String,
}

/// The drawing, as an `<svg>` element.
pub(super) fn svg(catalog: &Catalog) -> String {
    let columns = [owners(catalog), facts(catalog), kept(catalog)];
    let places: BTreeMap<(usize, &str), (usize, usize)> = columns
        .iter()
        .enumerate()
        .flat_map(|(column, tiles)| {
            tiles.iter().enumerate().map(move |(row, of)| {
                ((column, of.key.as_str()), (column * (WIDTH + GAP) + 10, row * STEP + 40))
            })
        })
        .collect();
    let rows = columns.iter().map(Vec::len).max().unwrap_or_default();
    let (width, height) = (3 * WIDTH + 2 * GAP + 20, rows * STEP + 50);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} {height}\" width=\"{width}\" role=\"img\" \
         aria-label=\"Events by owner, facts, and what is kept of them\">\n"
    );
    // Writing into a `String` does not fail.
    for (column, title) in ["Events, by owner", "Facts", "Rollups and entities"].into_iter().enumerate() {
        let _ = writeln!(
            svg,
            "<text class=\"head\" x=\"{}\" y=\"24\">{title}</text>",
            column * (WIDTH + GAP) + 10
        );
    }
    for (from, to) in lines(catalog) {
        let (Some(a), Some(b)) = (places.get(&(from.0, from.1.as_str())), places.get(&(to.0, to.1.as_str())))
        else {
            continue;
        };
        let (x1, y1) = (a.0 + WIDTH, a.1 + HEIGHT / 2);
        let (x2, y2) = (b.0, b.1 + HEIGHT / 2);
        let middle = usize::midpoint(x1, x2);
        let _ = writeln!(svg, "<path d=\"M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}\"/>");
    }
    for (column, tiles) in columns.iter().enumerate() {
        for of in tiles {
            let Some((x, y)) = places.get(&(column, of.key.as_str())) else { continue };
            let _ = writeln!(
                svg,
                "<a href=\"#{}\"><rect x=\"{x}\" y=\"{y}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\
                 <text class=\"title\" x=\"{}\" y=\"{}\">{}</text><text class=\"line\" x=\"{}\" y=\"{}\">{}</text></a>",
                escaped(&of.link),
                x + 12,
                y + 19,
                escaped(&of.title),
                x + 12,
                y + 36,
                escaped(&of.line),
            );
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn owner<'a>(catalog: &'a Catalog, event: &'a crate::catalog::Event) -> &'a str {
    event.source.owner.as_deref().or(catalog.file.owner.as_deref()).unwrap_or("nobody")
}

fn owners(catalog: &Catalog) -> Vec<Tile> {
    let mut of: Vec<(&str, Vec<&str>)> = Vec::new();
    for event in catalog.events.values() {
        let owner = owner(catalog, event);
        match of.iter_mut().find(|(name, _)| *name == owner) {
            Some((_, events)) => events.push(&event.name),
            None => of.push((owner, vec![&event.name])),
        }
    }
    let tiles = of.into_iter().map(|(owner, events)| Tile {
        key: owner.to_owned(),
        title: owner.to_owned(),
        line: counted(events.len(), "event"),
        link: events.first().map_or_else(String::new, |event| format!("event-{event}")),
    });
    tiles.collect()
}

fn facts(catalog: &Catalog) -> Vec<Tile> {
    let tiles = catalog.file.facts.iter().map(|(name, fact)| {
        let of =
            |metric: &crate::language::Metric| metric.0.fact.as_ref().is_some_and(|fact| fact.value == name);
        let n_metrics = catalog.file.metrics.iter().filter(|(_, metric)| of(metric)).count();
        let events = counted(catalog.fact_events(fact).len(), "event");
        Tile {
            key: name.to_owned(),
            title: name.to_owned(),
            line: format!("{events}, {}", counted(n_metrics, "metric")),
            link: format!("fact-{name}"),
        }
    });
    tiles.collect()
}

fn kept(catalog: &Catalog) -> Vec<Tile> {
    let rollups = catalog.file.rollups.iter().map(|(name, rollup)| Tile {
        key: name.to_owned(),
        title: name.to_owned(),
        line: format!("by {}, {}", rollup.grain, counted(rollup.metrics.len(), "metric")),
        link: format!("rollup-{name}"),
    });
    let entities = catalog.file.entities.iter().map(|(name, entity)| Tile {
        key: format!("entity {name}"),
        title: name.to_owned(),
        line: format!("entity, by {}", entity.key.value),
        link: format!("entity-{name}"),
    });
    rollups.chain(entities).collect()
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

type End = (usize, String);

fn lines(catalog: &Catalog) -> Vec<(End, End)> {
    let mut lines: Vec<(End, End)> = Vec::new();
    for (name, fact) in catalog.file.facts.iter() {
        for event in catalog.fact_events(fact) {
            lines.push(((0, owner(catalog, event).to_owned()), (1, name.to_owned())));
        }
    }
    for (name, rollup) in catalog.file.rollups.iter() {
        lines.push(((1, rollup.fact.value.clone()), (2, name.to_owned())));
    }
    lines.sort();
    lines.dedup();
    lines
}
