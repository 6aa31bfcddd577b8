//! A terminal's text as an SVG picture, for README.md: `tidegate demo --color always | cargo xtask picture`.

use std::fmt::Write;

/// Sizes in the picture's units, for a monospaced face of 14.
const CHAR_WIDTH: f64 = 8.43;
const LINE_HEIGHT: f64 = 19.0;
const MARGIN: f64 = 18.0;

/// The text, with the colours that `tidegate` uses, as an SVG document.
#[must_use]
pub fn svg(text: &str) -> String {
    let lines: Vec<Vec<Run<'_>>> = text.lines().map(runs).collect();
    let columns = lines.iter().map(|line| line.iter().map(Run::width).sum::<usize>()).max().unwrap_or(0);
    let (width, height) = (at(columns, CHAR_WIDTH) + MARGIN, at(lines.len(), LINE_HEIGHT) + MARGIN);
    let mut svg = format!(
        "<!-- Made by `cargo xtask picture`. -->\n\
         <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"a terminal\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#101418\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\" \
         fill=\"#d8dee4\" xml:space=\"preserve\">\n"
    );
    for (row, line) in lines.iter().enumerate() {
        let y = at(row, LINE_HEIGHT) + 14.0;
        let mut column = 0;
        for run in line {
            draw(&mut svg, run, at(column, CHAR_WIDTH), y);
            column += run.width();
        }
    }
    svg + "</g>\n</svg>\n"
}

fn at(cells: usize, size: f64) -> f64 {
    // A terminal has some hundreds of cells: far below where f64 loses integers.
    f64::from(u32::try_from(cells).unwrap_or(u32::MAX)).mul_add(size, MARGIN)
}

/// Characters of one colour.
struct Run<'a> {
    text: &'a str,
    code: &'a str,
}

impl Run<'_> {
    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Cuts a line at its escape sequences.
fn runs(line: &str) -> Vec<Run<'_>> {
    let mut pieces = line.split("\x1b[");
    let mut runs = vec![Run { text: pieces.next().unwrap_or_default(), code: "" }];
    for piece in pieces {
        let (code, text) = piece.split_once('m').unwrap_or(("", piece));
        runs.push(Run { text, code: if code == "0" { "" } else { code } });
    }
    runs
}

fn draw(svg: &mut String, run: &Run<'_>, x: f64, y: f64) {
    if run.text.trim().is_empty() {
        return;
    }
    let style = match run.code {
        "1" => " font-weight=\"bold\" fill=\"#ffffff\"",
        "2" => " fill=\"#7d8894\"",
        "31" => " fill=\"#f47067\"",
        "32" => " fill=\"#57ab5a\"",
        "33" => " fill=\"#daaa3f\"",
        "36" => " fill=\"#56b6c2\"",
        _ => "",
    };
    // The length is stated, so that a face of another width does not shift the columns.
    let length = at(run.width(), CHAR_WIDTH) - MARGIN;
    let text = run.text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{style}>{text}</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_fills_and_text_is_escaped() {
        let svg = svg("a \x1b[32mb<c\x1b[0m\n\nd");
        assert!(svg.contains("fill=\"#57ab5a\">b&lt;c</text>"), "{svg}");
        assert_eq!(svg.matches("<text ").count(), 3);
        assert!(!svg.contains('\x1b'));
    }
}
