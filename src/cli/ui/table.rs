//! Tables as Docker's command line aligns them.

use super::narrow::Narrow;
use super::style::width;

/// Rows of cells; columns are as wide as their widest cell.
#[derive(Debug, Clone)]
pub struct Table {
    rows: Vec<Vec<String>>,
    min_width: usize,
    gap: usize,
}

const GAP: usize = 3;

impl Table {
    /// Columns of at least ten, as `docker compose ps`.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self::with_min_width(header, 10)
    }

    /// Columns of at least so many; `docker compose ls` takes twenty.
    #[must_use]
    pub fn with_min_width(header: &[&str], min_width: usize) -> Self {
        Self::with_widths(&header.iter().map(ToString::to_string).collect::<Vec<_>>(), min_width, GAP)
    }

    /// With so many blanks between columns: `docker compose top` takes two.
    #[must_use]
    pub fn with_widths(header: &[String], min_width: usize, gap: usize) -> Self {
        let rows = if header.is_empty() { vec![] } else { vec![header.to_vec()] };
        Self { rows, min_width, gap }
    }

    pub fn row<I, S>(&mut self, cells: I)
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// As [`Table::render`] where that fits a terminal of so many columns, or nobody knows of one; otherwise with what
    /// `narrow` leaves of it.
    #[must_use]
    pub fn render_in(&self, columns: Option<usize>, fields: &[&str], narrow: &Narrow) -> String {
        let whole = self.render();
        match columns {
            Some(columns) if whole.lines().any(|line| width(line.trim_end()) > columns) => {
                narrow.render(fields, &self.rows, columns)
            }
            _ => whole,
        }
    }

    /// One line a row; the last cell of a row is not padded.
    #[must_use]
    pub fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let padded = self.rows.iter().filter(|row| row.len() > column + 1);
                padded.map(|row| width(&row[column]) + self.gap).max().unwrap_or(0).max(self.min_width)
            })
            .collect();
        let mut text = String::new();
        for row in &self.rows {
            for (column, cell) in row.iter().enumerate() {
                text.push_str(cell);
                if column + 1 < row.len() {
                    text.extend(std::iter::repeat_n(' ', widths[column].saturating_sub(width(cell))));
                }
            }
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_what_is_seen() {
        let mut table = Table::new(&["NAME", "IMAGE", "STATUS"]);
        table.row(["shop-web-1", "nginx", "Up 5 seconds"]);
        table.row(["shop-日本-1", "a-rather-long-image-name:1", ""]);
        insta::assert_snapshot!(table.render().replace(' ', "·"), @r"
        NAME··········IMAGE························STATUS
        shop-web-1····nginx························Up·5·seconds
        shop-日本-1···a-rather-long-image-name:1···
        ");
    }
}
