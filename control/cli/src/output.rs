//! Printing data: for people as a table, for programs as JSON or YAML. Only data goes to standard output.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::failure::Failure;
use crate::progress;

/// How to print data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    #[default]
    Table,
    /// For people, with all columns
    Wide,
    /// For programs
    Json,
    /// For programs and manifests
    Yaml,
}

/// Standard output in one format.
pub(crate) struct Output {
    format: Format,
    terminal: bool,
    colour: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        // https://no-color.org: present and not empty, whatever its value.
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self {
            format,
            terminal,
            colour: terminal && !refused && !dumb,
        }
    }

    /// Whether somebody watches.
    pub(crate) fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Whether colours are wanted.
    pub(crate) fn has_colour(&self) -> bool {
        self.colour
    }

    /// Whether people are to read it.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// Prints `data` for programs, or what `people` makes of it.
    pub(crate) fn print<T: Serialize + ?Sized>(
        &self,
        data: &T,
        people: impl FnOnce(Style) -> String,
    ) -> Result<(), Failure> {
        self.text(&self.render(data, people)?)
    }

    /// What [`print`](Self::print) prints, with its final line break.
    pub(crate) fn render<T: Serialize + ?Sized>(
        &self,
        data: &T,
        people: impl FnOnce(Style) -> String,
    ) -> Result<String, Failure> {
        let style = Style {
            wide: self.format == Format::Wide,
            colour: self.colour,
        };
        let text = match self.format {
            Format::Table | Format::Wide => people(style),
            Format::Json => serde_json::to_string_pretty(data).map_err(|error| {
                Failure::new(format!("the answer cannot be written as JSON: {error}"))
            })?,
            Format::Yaml => serde_saphyr::to_string(&data).map_err(|error| {
                Failure::new(format!("the answer cannot be written as YAML: {error}"))
            })?,
        };
        Ok(if text.is_empty() || text.ends_with('\n') {
            text
        } else {
            text + "\n"
        })
    }

    /// Prints a text as it is.
    pub(crate) fn text(&self, text: &str) -> Result<(), Failure> {
        progress::pause();
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| Failure::of_output(&error))
    }

    /// Says something that is not data.
    pub(crate) fn note(&self, text: &str) {
        progress::pause();
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// How tables look.
#[derive(Clone, Copy)]
pub(crate) struct Style {
    /// Whether to show all columns.
    pub(crate) wide: bool,
    colour: bool,
}

impl Style {
    /// Without colour.
    pub(crate) const PLAIN: Self = Self {
        wide: false,
        colour: false,
    };

    /// Aligned columns under upper-case headings, without lines. A heading that starts with `#` is of a column of numbers, which
    /// are aligned to the right.
    pub(crate) fn table(
        self,
        headings: &[&str],
        rows: impl IntoIterator<Item = Vec<String>>,
    ) -> String {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if self.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(
            headings
                .iter()
                .map(|heading| heading.trim_start_matches('#')),
        );
        for row in rows {
            table.add_row(row.into_iter().map(|text| {
                let cell = Cell::new(&text);
                match (self.colour, text.as_str()) {
                    (true, "up") => cell.fg(Color::Green),
                    (true, "down" | "blocked" | "broken") => cell.fg(Color::Red),
                    _ => cell,
                }
            }));
        }
        let last = headings.len().saturating_sub(1);
        for (index, heading) in headings.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                // Columns stand two spaces apart; lines start at the left edge.
                column.set_padding((0, if index == last { 0 } else { 2 }));
                if heading.starts_with('#') {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        table
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect()
    }

    /// One object: a field and its value per line.
    pub(crate) fn fields<'a>(self, fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
        let fields: Vec<_> = fields
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let width = fields
            .iter()
            .map(|(name, _)| name.len() + 1)
            .max()
            .unwrap_or_default();
        fields
            .into_iter()
            .map(|(name, value)| format!("{:width$}  {value}\n", format!("{name}:")))
            .collect()
    }
}

/// `1 port`, `2 ports`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    let plural = match noun {
        _ if number == 1 => "",
        _ if noun.ends_with("ch") => "es",
        _ => "s",
    };
    format!("{number} {noun}{plural}")
}

/// What stands for a value that there is not.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned_and_plain() {
        let rows = [["MyVM1", "5", "up"], ["a", "12345", "down"]]
            .map(|row| row.map(str::to_owned).to_vec());
        let table = Style::PLAIN.table(&["PORT", "#FRAMES", "STATE"], rows);
        assert_eq!(
            table,
            "PORT   FRAMES  STATE\nMyVM1       5  up\na       12345  down\n"
        );
    }

    #[test]
    fn one_is_singular() {
        let shown = [(1, "switch"), (2, "switch"), (0, "port"), (1, "port group")];
        assert_eq!(
            shown.map(|(number, noun)| counted(number, noun)),
            ["1 switch", "2 switches", "0 ports", "1 port group"]
        );
    }

    #[test]
    fn fields_stand_under_each_other_and_empty_ones_are_left_out() {
        let text = Style::PLAIN.fields([
            ("name", "a".to_owned()),
            ("reason", String::new()),
            ("mtu", "1500".to_owned()),
        ]);
        assert_eq!(text, "name:  a\nmtu:   1500\n");
    }
}
