//! Which crate may know which. A new edge is a change of the architecture: it is added here, and told in
//! ARCHITECTURE.md.

/// Our crates, by ring, and which of our crates each may depend on.
pub(crate) const LAYERS: [(&str, &[&str]); 21] = [
    ("core", &[]),
    ("yaml", &[]),
    ("config", &["yaml"]),
    ("native", &[]),
    ("schema", &[]),
    ("protocol", &["core"]),
    ("languages", &[]),
    ("catalog", &["schema", "yaml"]),
    ("codec", &["core", "languages", "native", "schema"]),
    ("pipeline", &["core", "config", "native", "protocol", "schema", "codec"]),
    ("kafka", &["core", "pipeline"]),
    ("clickhouse", &["core", "native", "pipeline"]),
    ("registry", &["core", "kafka", "languages"]),
    ("registry-client", &["core"]),
    ("broker", &[]),
    ("engine", &[]),
    ("testkit", &["codec", "config", "core", "native", "pipeline"]),
    ("model", &["core", "protocol"]),
    ("faults", &["clickhouse", "engine", "testkit"]),
    (
        "tidegate",
        &[
            "core",
            "catalog",
            "config",
            "native",
            "schema",
            "codec",
            "pipeline",
            "kafka",
            "clickhouse",
            "broker",
            "registry",
            "registry-client",
            "languages",
            "engine",
        ],
    ),
    (
        "bench",
        &[
            "core",
            "config",
            "native",
            "schema",
            "codec",
            "pipeline",
            "kafka",
            "clickhouse",
            "broker",
            "engine",
        ],
    ),
];

/// Foreign APIs that one crate owns: nobody else names them, but for the exceptions below.
pub(crate) const OWNERS: [(&str, &str); 6] = [
    ("rdkafka", "kafka"),
    ("reqwest", "clickhouse"),
    ("kafka-protocol", "broker"),
    ("libloading", "engine"),
    ("openssl", "broker"),
    ("tokio-openssl", "broker"),
];

/// The benchmark measures the bare Kafka client beside ours, the fault runs check without ours; the engine takes one
/// hash from OpenSSL; the Kafka client joins groups that librdkafka cannot; the registry forwards writes, and
/// its clients are apart.
const OWNED_BUT: [(&str, &str); 8] = [
    ("bench", "rdkafka"),
    ("faults", "rdkafka"),
    ("engine", "openssl"),
    ("kafka", "kafka-protocol"),
    ("kafka", "openssl"),
    ("kafka", "tokio-openssl"),
    ("registry", "reqwest"),
    ("registry-client", "reqwest"),
];

/// What is wrong with the dependencies of `name`, whose Cargo.toml says `manifest`: line and message.
/// Dependencies of tests are free: a test may put a client beside the broker that it talks to.
pub(crate) fn check(name: &str, manifest: &str) -> Vec<(usize, String)> {
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
        return vec![(1, format!("crate `{name}` has no layer; add it to xtask/src/layers.rs"))];
    };
    let mut wrong = Vec::new();
    for (line, dependency) in dependencies(manifest) {
        if let Some(ours) = dependency.strip_prefix("tidegate-")
            && !allowed.contains(&ours)
        {
            wrong.push((line, format!("crate `{name}` may not depend on `{ours}`")));
        }
        if let Some((_, owner)) = OWNERS.iter().find(|(foreign, _)| *foreign == dependency)
            && *owner != name
            && !OWNED_BUT.contains(&(name, dependency))
        {
            wrong.push((line, format!("`{dependency}` belongs to crate `{owner}` alone")));
        }
    }
    wrong
}

/// Names under `[dependencies]`, with their lines.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    manifest.lines().enumerate().filter_map(move |(index, line)| {
        if line.starts_with('[') {
            inside = line.trim() == "[dependencies]";
            return None;
        }
        let name =
            line.split(['.', '=', ' ']).next().filter(|name| !name.is_empty() && !name.starts_with('#'))?;
        inside.then_some((index + 1, name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_outwards_is_found_and_one_inwards_is_not() {
        let manifest = "[package]\nname = \"x\"\n\n[dependencies]\ntidegate-core.workspace = true\n\
                        tidegate-kafka = { path = \"../kafka\" }\n\n[dev-dependencies]\nrdkafka = \"1\"\n";
        assert_eq!(check("codec", manifest), [(6, "crate `codec` may not depend on `kafka`".to_owned())]);
        assert!(check("stranger", manifest)[0].1.contains("no layer"));
    }

    #[test]
    fn a_foreign_api_has_one_owner() {
        let manifest = "[dependencies]\nrdkafka.workspace = true\n";
        assert_eq!(check("kafka", manifest), []);
        assert_eq!(check("pipeline", manifest), [(2, "`rdkafka` belongs to crate `kafka` alone".to_owned())]);
    }
}
