//! The one table that is printed.
//!
//! Owns its layout. It never measures.

/// One figure.
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// What came out.
    pub(crate) measured: String,
    /// What it should reach.
    pub(crate) reach: String,
    /// A peer in the same run, when there is one.
    pub(crate) peer: String,
    /// It is reached.
    pub(crate) reached: bool,
}

impl Row {
    /// What could not be measured.
    pub(crate) fn failed(what: &str, error: &anyhow::Error) -> Self {
        Self::new(what, format!("not measured: {error:#}"), "", false)
    }

    /// A figure without a peer.
    pub(crate) fn new(
        what: impl Into<String>,
        measured: impl Into<String>,
        reach: impl Into<String>,
        reached: bool,
    ) -> Self {
        Self {
            what: what.into(),
            measured: measured.into(),
            reach: reach.into(),
            peer: String::new(),
            reached,
        }
    }
}

/// Prints every row, aligned.
pub(crate) fn print(rows: &[Row]) {
    let head = ["what", "measured", "reach", "peer, same run", ""].map(String::from);
    let body = rows.iter().map(|row| {
        let mark = if row.reached { "yes" } else { "NO" };
        [row.what.clone(), row.measured.clone(), row.reach.clone(), row.peer.clone(), mark.to_owned()]
    });
    let lines: Vec<[String; 5]> = std::iter::once(head).chain(body).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    for line in &lines {
        let cells: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}", width = *width)).collect();
        println!("{}", cells.join("  ").trim_end());
    }
    let missed = rows.iter().filter(|row| !row.reached).count();
    println!("{} figures, {missed} not reached", rows.len());
}

/// The value at `share` (0..=1) of sorted `values`.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (share * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
