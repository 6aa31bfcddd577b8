//! The configuration that README.md shows works.

use std::io;
use std::path::Path;

use tidegate_config::{Surroundings, parse_sink};

#[test]
fn the_readme_shows_a_file_that_is_accepted() {
    let readme = include_str!("../../../README.md");
    let blocks: Vec<&str> =
        readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty(), "README.md shows no configuration");
    for block in blocks {
        let surroundings = Surroundings {
            variable: &|_| Some("secret".to_owned()),
            read: &|_| Err(io::ErrorKind::NotFound.into()),
        };
        let parsed = parse_sink(Path::new("sink.yaml"), block, &surroundings);
        assert!(parsed.is_ok(), "{block}\n{}", parsed.unwrap_err());
    }
}
