//! The same questions over HTTP: `/api/v1/metrics` lists, `/api/v1/metrics/query` answers.

use axum::Json;
use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use tidegate_catalog::{Asked, Sources, compile};
use tidegate_clickhouse::Client;

use super::answer::{Answer, Model, ROWS_DEFAULT, ROWS_MAX};
use crate::render;

/// Who answers.
#[derive(Debug)]
pub struct Oracle {
    /// The catalog.
    pub model: Model,
    /// The ClickHouse that has its tables.
    pub clickhouse: Client,
}

/// What a request says, if it can be read.
pub type Parameters = Result<Query<Question>, QueryRejection>;

/// What a request asks. Lists have commas between their names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Question {
    metrics: String,
    by: String,
    grain: Option<String>,
    #[serde(rename = "where")]
    filter: Option<String>,
    from: Option<String>,
    to: Option<String>,
    source: Source,
    format: Format,
    limit: Option<u64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    #[default]
    Best,
    Rows,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Csv,
    Sql,
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The list of metrics.
#[must_use]
pub fn list(oracle: Option<&Oracle>) -> Response {
    match oracle {
        Some(oracle) => Json(oracle.model.metrics()).into_response(),
        None => nobody(),
    }
}

/// The answer to a question.
pub async fn query(oracle: Option<&Oracle>, parameters: Parameters) -> Response {
    let Some(oracle) = oracle else { return nobody() };
    let question = match parameters {
        Ok(Query(question)) => question,
        Err(rejection) => return wrong(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let limit = question.limit.unwrap_or(ROWS_DEFAULT);
    if limit == 0 || limit > ROWS_MAX {
        return wrong(
            StatusCode::BAD_REQUEST,
            &format!("`limit` lies between 1 and {ROWS_MAX}, found {limit}"),
        );
    }
    let asked = Asked {
        metrics: listed(&question.metrics),
        by: listed(&question.by),
        grain: question.grain,
        filter: question.filter,
        from: question.from,
        to: question.to,
        sources: match question.source {
            Source::Best => Sources::Best,
            Source::Rows => Sources::Rows,
        },
        limit: Some(limit + 1),
    };
    let compiled = match compile(&oracle.model.catalog, &oracle.model.lock, &asked) {
        Ok(compiled) => compiled,
        Err(mistakes) => {
            return (StatusCode::BAD_REQUEST, Json(json!({"mistakes": mistakes}))).into_response();
        }
    };
    if question.format == Format::Sql {
        return Json(compiled).into_response();
    }
    match Answer::ask(&oracle.clickhouse, compiled, limit).await {
        Ok(answer) if question.format == Format::Csv => {
            let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
            (kind, render::csv(&answer)).into_response()
        }
        Ok(answer) => Json(answer).into_response(),
        // The world behind this interface failed, not the one who asks.
        Err(error) => wrong(StatusCode::BAD_GATEWAY, &format!("{error:#}")),
    }
}

fn wrong(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({"error": error}))).into_response()
}

fn nobody() -> Response {
    wrong(
        StatusCode::NOT_FOUND,
        "nothing says what the metrics are: start `tidegate up` with `--catalog cdp.yaml`",
    )
}
