//! Lists on a narrow terminal: a line that wraps can't be read, so columns are shortened and, where that is not enough,
//! left out.

use super::style::{ellipsis, ellipsis_middle, width};
use super::table::Table;

/// What a list gives up, first things first. Columns are called by their fields.
#[derive(Debug, Default, Clone, Copy)]
pub struct Narrow {
    pub leave_out: &'static [&'static str],
    /// With the columns that it keeps.
    pub shorten: &'static [(&'static str, usize)],
}

/// Blanks between columns where every column counts.
const GAP: usize = 2;

impl Narrow {
    pub const NOTHING: Self = Self { leave_out: &[], shorten: &[] };

    /// The rows, the first of which is the header, as lines of at most so many columns.
    #[must_use]
    pub fn render(&self, fields: &[&str], rows: &[Vec<String>], columns: usize) -> String {
        let cell = |row: &'_ [String], column: usize| row.get(column).cloned().unwrap_or_default();
        let mut widths: Vec<usize> = (0..fields.len())
            .map(|column| rows.iter().map(|row| width(&cell(row, column))).max().unwrap_or(0))
            .collect();
        let least: Vec<usize> = fields
            .iter()
            .zip(&widths)
            .map(|(field, &width)| {
                self.shorten.iter().find(|(name, _)| name == field).map_or(width, |(_, least)| width.min(*least))
            })
            .collect();
        let mut kept: Vec<usize> = (0..fields.len()).collect();
        let total = |kept: &[usize], widths: &[usize]| {
            kept.iter().map(|&column| widths[column]).sum::<usize>() + GAP * kept.len().saturating_sub(1)
        };
        for field in self.leave_out {
            if total(&kept, &least) <= columns {
                break;
            }
            kept.retain(|&column| fields[column] != *field);
        }
        let mut excess = total(&kept, &widths).saturating_sub(columns);
        for (field, _) in self.shorten {
            if let Some(&column) = kept.iter().find(|&&column| fields[column] == *field) {
                let given = excess.min(widths[column] - least[column]);
                widths[column] -= given;
                excess -= given;
            }
        }
        let mut table = Table::with_widths(&[], 0, GAP);
        for row in rows {
            table.row(kept.iter().map(|&column| shorten(fields[column], &cell(row, column), widths[column])));
        }
        table.render().lines().map(|line| ellipsis(line.trim_end(), columns) + "\n").collect()
    }
}

/// The end of a name tells replicas apart.
fn shorten(field: &str, text: &str, columns: usize) -> String {
    match field {
        "Name" | "ContainerName" | "Image" | "Repository" | "ConfigFiles" => ellipsis_middle(text, columns),
        _ => ellipsis(text, columns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: [&str; 4] = ["Name", "Image", "Status", "Ports"];
    const NARROW: Narrow = Narrow { leave_out: &["Image", "Ports"], shorten: &[("Image", 8), ("Name", 8)] };

    fn text(columns: usize) -> String {
        let rows = [
            ["NAME", "IMAGE", "STATUS", "PORTS"],
            ["shop-web-1", "registry.example/web:1.35", "Up 5 seconds", "80/tcp"],
            ["shop-database-12", "postgres:17", "Up 2 minutes", ""],
        ];
        NARROW.render(&FIELDS, &rows.map(|row| row.map(str::to_owned).to_vec()), columns)
    }

    #[test]
    fn columns_are_shortened_and_then_left_out() {
        insta::assert_snapshot!(text(60), @r"
        NAME              IMAGE                 STATUS        PORTS
        shop-web-1        registry.e…/web:1.35  Up 5 seconds  80/tcp
        shop-database-12  postgres:17           Up 2 minutes
        ");
        insta::assert_snapshot!(text(38), @r"
        NAME              STATUS        PORTS
        shop-web-1        Up 5 seconds  80/tcp
        shop-database-12  Up 2 minutes
        ");
        insta::assert_snapshot!(text(26), @r"
        NAME          STATUS
        shop-web-1    Up 5 seconds
        shop-d…se-12  Up 2 minutes
        ");
        for columns in 0..100 {
            assert!(text(columns).lines().all(|line| width(line) <= columns), "{columns}: {}", text(columns));
        }
    }
}
