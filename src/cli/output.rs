//! How commands print: aligned tables for people, one JSON object a line for programs.

/// An aligned table.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as text, numbers to the right.
    pub fn text(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell = |row: &Vec<String>, column: usize| row.get(column).map_or("", String::as_str).to_owned();
        let width = |column| self.rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0);
        let numeric = |column: usize| self.rows.iter().skip(1).all(|row| cell(row, column).parse::<f64>().is_ok());
        let layout: Vec<(usize, bool)> =
            (0..columns).map(|column| (width(column), numeric(column) && self.rows.len() > 1)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let cells = layout.iter().enumerate().map(|(column, &(width, right))| {
                let cell = cell(row, column);
                if right { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
            });
            text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
            text.push('\n');
        }
        text
    }

    /// Prints the table.
    pub fn print(&self) {
        print!("{}", self.text());
    }
}

/// Prints one JSON object on one line.
pub fn print_json(value: &serde_json::Value) {
    println!("{value}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right() {
        let mut table = Table::new(&["pair", "n"]);
        table.row(["a".to_owned(), "5".to_owned()]);
        table.row(["long".to_owned(), "100".to_owned()]);
        assert_eq!(table.text(), "pair    n\na       5\nlong  100\n");
    }
}
