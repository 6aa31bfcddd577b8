//! `cargo xtask`: the repository's own checks and code generation.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, bail};
use xtask::{codegen, picture, repository, tidy};

fn main() -> anyhow::Result<ExitCode> {
    let command = std::env::args().nth(1).unwrap_or_default();
    match command.as_str() {
        "tidy" => tidy(),
        "codegen" => codegen(),
        "picture" => picture(),
        _ => bail!("expected `cargo xtask tidy`, `codegen` or `picture`"),
    }
}

fn tidy() -> anyhow::Result<ExitCode> {
    let findings = tidy::findings(&repository())?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn codegen() -> anyhow::Result<ExitCode> {
    for generated in codegen::files()? {
        let path = repository().join(generated.path);
        fs::write(&path, generated.text).with_context(|| format!("write {}", path.display()))?;
        println!("wrote {}", generated.path);
    }
    Ok(ExitCode::SUCCESS)
}

/// Standard input, a terminal's text, becomes README's picture.
fn picture() -> anyhow::Result<ExitCode> {
    let text = std::io::read_to_string(std::io::stdin()).context("read standard input")?;
    let path = repository().join("docs/demo.svg");
    fs::write(&path, picture::svg(&text)).with_context(|| format!("write {}", path.display()))?;
    println!("wrote docs/demo.svg");
    Ok(ExitCode::SUCCESS)
}
