//! Where the metrics that people want are written down.

use tidegate_yaml::section;

section! {
    /// Where the metrics that people want are written down.
    pub struct CoverageSource as "`coverage`" {
        /// The spreadsheet, as CSV, from the catalog's folder.
        spreadsheet: String;
        /// The file that keeps the percentage over time: a line of JSON a run.
        history: Option<String>;
        /// The file that `tidegate catalog coverage` writes its report to, as Markdown.
        report: Option<String>;
    }
}
