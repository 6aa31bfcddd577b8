//! `metrics.json`: every metric with what it is made of and, where one aggregate says it, its SQL.

use serde_json::{Value, json};

use super::File;
use crate::catalog::Catalog;
use crate::check;
use crate::lineage;
use crate::lock::Lock;
use crate::metric_sql::aggregate;

pub(super) fn file(catalog: &Catalog, lock: &Lock) -> File {
    let metrics = catalog.file.metrics.iter().map(|(name, metric)| {
        let aggregate = aggregate(catalog, lock, metric);
        let rollups: Vec<&str> = catalog
            .file
            .rollups
            .iter()
            .filter(|(_, rollup)| rollup.metrics.iter().any(|kept| kept.value == name))
            .map(|(rollup, _)| rollup)
            .collect();
        let fields: Vec<String> = lineage::fields(catalog, name)
            .into_iter()
            .map(|(event, field)| format!("{event}.{field}"))
            .collect();
        let value = json!({
            "name": name,
            "kind": metric.kind().as_str(),
            "doc": metric.doc(),
            "owner": metric.owner().or(catalog.file.owner.as_deref()),
            "unit": metric.unit(),
            "alias": metric.alias(),
            "made_of": check::parts(metric),
            "mergeable": check::mergeable(metric.kind()),
            "fields": fields,
            "rollups": rollups,
            "sql": aggregate.map(|aggregate| aggregate.raw),
        });
        value
    });
    let metrics: Vec<Value> = metrics.collect();
    File::json("metrics.json", &json!({"catalog": catalog.file.name.as_str(), "metrics": metrics}))
}
