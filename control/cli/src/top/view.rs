//! What `weft top` shows: from rates, and from what the operator chose, to the lines of a screen.
//!
//! Nothing here knows of a terminal: a [`View`] is given keys and rates, and [`View::screen`] returns lines.

use weft_api::{FindingGroup, PortState};

use super::rates::{Flow, PortRates, Rates, ThreadRates};

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    /// What the rest is about.
    Strong,
    /// The heading of the table.
    Heading,
    /// The column that is sorted by.
    Chosen,
    /// Less important.
    Faint,
    /// Something is wrong.
    Wrong,
}

/// A line of the screen in pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line(pub(crate) Vec<(Look, String)>);

impl Line {
    fn of(look: Look, text: impl Into<String>) -> Self {
        Self(vec![(look, text.into())])
    }

    fn push(&mut self, look: Look, text: impl Into<String>) {
        self.0.push((look, text.into()));
    }

    /// Its characters. All names that weft accepts are ASCII.
    pub(crate) fn text(&self) -> String {
        self.0.iter().map(|(_, text)| text.as_str()).collect()
    }

    /// The same, cut to a width.
    fn cut(self, width: usize) -> Self {
        let mut left = width;
        let pieces = self.0.into_iter().map(|(look, text)| {
            let text: String = text.chars().take(left).collect();
            left -= text.chars().count();
            (look, text)
        });
        Self(pieces.filter(|(_, text)| !text.is_empty()).collect())
    }
}

/// Columns that the table can be sorted by, in their order on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Name,
    RxFrames,
    RxBits,
    TxFrames,
    TxBits,
    Drops,
}

impl Column {
    const ALL: [Self; 6] = [
        Self::Name,
        Self::RxFrames,
        Self::RxBits,
        Self::TxFrames,
        Self::TxBits,
        Self::Drops,
    ];

    fn heading(self) -> &'static str {
        match self {
            Self::Name => "PORT",
            Self::RxFrames => "RX FR/S",
            Self::RxBits => "RX BIT/S",
            Self::TxFrames => "TX FR/S",
            Self::TxBits => "TX BIT/S",
            Self::Drops => "DROPS/S",
        }
    }

    fn rate(self, flow: &Flow) -> f64 {
        match self {
            Self::Name => 0.0,
            Self::RxFrames => flow.rx_frames_per_second,
            Self::RxBits => flow.rx_bits_per_second,
            Self::TxFrames => flow.tx_frames_per_second,
            Self::TxBits => flow.tx_bits_per_second,
            Self::Drops => flow.drops_per_second,
        }
    }

    fn next(self, step: isize) -> Self {
        let columns = Self::ALL.len() as isize;
        let at = Self::ALL
            .iter()
            .position(|column| *column == self)
            .unwrap_or(0);
        Self::ALL[(at as isize + step).rem_euclid(columns) as usize]
    }
}

/// What the operator did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Left,
    Right,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
}

/// What follows from a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Continue,
    Quit,
}

/// What is shown, and how.
#[derive(Debug)]
pub(crate) struct View {
    rates: Option<Rates>,
    /// Why the agent did not answer last time.
    away: Option<String>,
    sorted_by: Column,
    reversed: bool,
    filter: String,
    /// The filter is being typed.
    typing: bool,
    paused: bool,
    /// The first row of the table that is visible.
    top: usize,
    /// Rows that were visible last time.
    page: usize,
}

/// Widths of the columns of rates.
const RATE: usize = 8;

/// Columns for a name, and at most.
const SHORTEST_NAME: usize = 8;
const LONGEST_NAME: usize = 40;

impl View {
    pub(crate) fn new() -> Self {
        Self {
            rates: None,
            away: None,
            sorted_by: Column::RxFrames,
            reversed: false,
            filter: String::new(),
            typing: false,
            paused: false,
            top: 0,
            page: 1,
        }
    }

    /// What the agent said last.
    pub(crate) fn show(&mut self, rates: Rates) {
        self.away = None;
        self.rates = Some(rates);
    }

    /// The agent answers, and there is nothing to compare its answer with yet.
    pub(crate) fn is_back(&mut self) {
        self.away = None;
    }

    /// The agent did not answer.
    pub(crate) fn lost(&mut self, why: String) {
        self.away = Some(why);
    }

    /// Whether the picture is to stay as it is.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Does what the operator wants.
    pub(crate) fn press(&mut self, key: Key) -> After {
        if self.typing {
            self.type_filter(key);
            return After::Continue;
        }
        match key {
            Key::Char('q') => return After::Quit,
            Key::Char(' ' | 'p') => self.paused = !self.paused,
            Key::Char('/' | 'f') => self.typing = true,
            Key::Char('r') => self.reversed = !self.reversed,
            Key::Char('s' | '>') | Key::Right => self.sorted_by = self.sorted_by.next(1),
            Key::Char('S' | '<') | Key::Left => self.sorted_by = self.sorted_by.next(-1),
            Key::Char('j') | Key::Down => self.top = self.top.saturating_add(1),
            Key::Char('k') | Key::Up => self.top = self.top.saturating_sub(1),
            Key::PageDown => self.top = self.top.saturating_add(self.page),
            Key::PageUp => self.top = self.top.saturating_sub(self.page),
            Key::Home => self.top = 0,
            Key::End => self.top = usize::MAX,
            Key::Escape => self.filter.clear(),
            Key::Char(_) | Key::Enter | Key::Backspace => {}
        }
        After::Continue
    }

    fn type_filter(&mut self, key: Key) {
        /// As long as the longest name.
        const LONGEST: usize = 80;
        match key {
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.typing = false;
                self.filter.clear();
            }
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Char(char) if self.filter.len() < LONGEST && !char.is_control() => {
                self.filter.push(char);
            }
            _ => {}
        }
        self.top = 0;
    }

    /// The lines of a screen of this size; never more, and none is wider.
    pub(crate) fn screen(&mut self, width: u16, height: u16) -> Vec<Line> {
        let (width, height) = (usize::from(width), usize::from(height));
        let mut lines = self.head(height);
        let foot = self.foot();
        let rows = height.saturating_sub(lines.len() + 2);
        lines.extend(self.table(width, rows));
        lines.truncate(height.saturating_sub(1));
        lines.resize(height.saturating_sub(1), Line::default());
        lines.push(foot);
        lines.truncate(height);
        lines.into_iter().map(|line| line.cut(width)).collect()
    }

    /// Everything above the table: a third of the screen at most.
    fn head(&self, height: usize) -> Vec<Line> {
        let mut title = Line::of(Look::Strong, "weft top");
        let mut lines = Vec::new();
        let Some(rates) = &self.rates else {
            title.push(Look::Plain, "  waiting for the first interval");
            lines.push(title);
            lines.extend(self.away());
            return lines;
        };
        title.push(Look::Plain, format!("  host {}  ", rates.host));
        title.push(
            Look::Faint,
            format!(
                "up {}  every {:.1} s",
                crate::status::duration(rates.uptime_seconds as u64),
                rates.interval_seconds
            ),
        );
        if self.paused {
            title.push(Look::Chosen, "  paused");
        }
        lines.push(title);
        lines.push(total(&rates.total));
        let most = (height / 3).saturating_sub(3).max(1);
        lines.extend(threads(&rates.threads, most));
        lines.extend(self.away().or_else(|| wrong(&rates.problems)));
        lines
    }

    fn away(&self) -> Option<Line> {
        let why = self.away.as_ref()?;
        Some(Line::of(Look::Wrong, format!("trying again: {why}")))
    }

    fn table(&mut self, width: usize, rows: usize) -> Vec<Line> {
        let Some(rates) = &self.rates else {
            return Vec::new();
        };
        let shown = sorted(&rates.ports, &self.filter, self.sorted_by, self.reversed);
        self.top = self.top.min(shown.len().saturating_sub(rows.max(1)));
        self.page = rows.max(1);
        let longest = rates.ports.iter().map(|port| label(port).len()).max();
        let name = name_width(width, longest.unwrap_or_default());
        let heading = heading(name, self.sorted_by, self.reversed);
        let visible = shown.iter().skip(self.top).take(rows);
        std::iter::once(heading)
            .chain(visible.map(|port| row(port, name)))
            .collect()
    }

    fn foot(&self) -> Line {
        if self.typing {
            let mut line = Line::of(Look::Strong, format!("filter: {}", self.filter));
            line.push(Look::Faint, "_  Enter: keep  Esc: all ports");
            return line;
        }
        let mut line = Line::default();
        let mut keys = vec![
            ("q", "quit"),
            ("< >", "sort"),
            ("r", "reverse"),
            ("/", "filter"),
            ("space", "pause"),
            ("arrows", "scroll"),
        ];
        if self.paused {
            keys[4].1 = "go on";
        }
        if !self.filter.is_empty() {
            line.push(Look::Chosen, format!("only '{}'", self.filter));
            line.push(Look::Faint, " (Esc: all)  ");
        }
        for (key, what) in keys {
            line.push(Look::Strong, key);
            line.push(Look::Faint, format!(" {what}  "));
        }
        line
    }
}

/// The whole of it as a text: for what is no terminal, all rows and no keys.
pub(super) fn text(rates: &Rates) -> String {
    let mut lines = vec![total(&rates.total)];
    lines.extend(rates.threads.iter().map(thread));
    lines.extend(wrong(&rates.problems));
    let longest = rates.ports.iter().map(|port| label(port).len()).max();
    let name = longest.unwrap_or_default().max(SHORTEST_NAME);
    lines.push(heading(name, Column::RxFrames, false));
    let rows = sorted(&rates.ports, "", Column::RxFrames, false);
    lines.extend(rows.into_iter().map(|port| row(port, name)));
    let text = lines.iter().map(|line| line.text().trim_end().to_owned());
    text.collect::<Vec<_>>().join("\n") + "\n"
}

/// A rate in at most six characters: `0`, `0.5`, `12`, `999`, `1.23k`, `45.6M`.
pub(crate) fn rate(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if value < 9.95 {
        return format!("{value:.1}");
    }
    if value < 999.5 {
        return format!("{value:.0}");
    }
    let mut scaled = value;
    for unit in ["k", "M", "G"] {
        scaled /= 1000.0;
        if scaled < 999.5 {
            let digits = match scaled {
                ..9.995 => 2,
                ..99.95 => 1,
                _ => 0,
            };
            return format!("{scaled:.digits$}{unit}");
        }
    }
    format!("{:.0}T", scaled / 1000.0)
}

fn total(total: &Flow) -> Line {
    let mut line = Line::of(
        Look::Plain,
        format!(
            "rx {} frames/s {} bit/s   tx {} frames/s {} bit/s   ",
            rate(total.rx_frames_per_second),
            rate(total.rx_bits_per_second),
            rate(total.tx_frames_per_second),
            rate(total.tx_bits_per_second)
        ),
    );
    let look = if total.drops_per_second > 0.0 {
        Look::Wrong
    } else {
        Look::Plain
    };
    line.push(look, format!("drops {}/s", rate(total.drops_per_second)));
    line
}

/// The threads; where there are more than `most`, the busiest ones.
fn threads(threads: &[ThreadRates], most: usize) -> Vec<Line> {
    let mut shown: Vec<&ThreadRates> = threads.iter().collect();
    let hidden = if shown.len() > most {
        shown.sort_by(|one, other| other.busy_share.total_cmp(&one.busy_share));
        let kept = most.saturating_sub(1).max(1);
        shown.truncate(kept);
        threads.len() - kept
    } else {
        0
    };
    let mut lines: Vec<Line> = shown.into_iter().map(thread).collect();
    if hidden > 0 && most > 1 {
        lines.push(Line::of(
            Look::Faint,
            format!("and {hidden} less busy threads"),
        ));
    }
    lines
}

fn thread(thread: &ThreadRates) -> Line {
    /// From this share of its time on, a thread is near its limit.
    const BUSY: f64 = 0.9;
    let core = thread
        .core
        .map_or_else(String::new, |core| format!(" core {core}"));
    let mut line = Line::of(Look::Plain, format!("thread {}{core}  ", thread.index));
    let look = if thread.busy_share >= BUSY {
        Look::Wrong
    } else {
        Look::Strong
    };
    line.push(look, format!("busy {:5.1}%", thread.busy_share * 100.0));
    let cycles = thread
        .cycles_per_frame
        .map_or_else(|| "-".to_owned(), |cycles| format!("{cycles:.0}"));
    line.push(
        Look::Plain,
        format!(
            "  asleep {:5.1}%  {} frames/s  {cycles} cycles/frame",
            thread.asleep_share * 100.0,
            rate(thread.frames_per_second)
        ),
    );
    line
}

fn wrong(problems: &[FindingGroup]) -> Option<Line> {
    let worst = problems.first()?;
    let more = match problems.len() - 1 {
        0 => String::new(),
        more => format!("(and {more} more: weft status) "),
    };
    Some(Line::of(Look::Wrong, format!("wrong: {more}{worst}")))
}

/// The ports whose name or reasons hold the filter, in order: uplinks before ports, the largest before the smaller ones,
/// and equal ones by name, so that quiet ports keep their places.
fn sorted<'a>(
    ports: &'a [PortRates],
    filter: &str,
    column: Column,
    reversed: bool,
) -> Vec<&'a PortRates> {
    let filter = filter.to_lowercase();
    let holds = |port: &&PortRates| {
        filter.is_empty() || {
            let text = format!("{} {}", label(port), note(port)).to_lowercase();
            text.contains(&filter)
        }
    };
    let mut shown: Vec<_> = ports.iter().filter(holds).collect();
    shown.sort_by(|one, other| {
        let rates = column
            .rate(&other.flow)
            .total_cmp(&column.rate(&one.flow))
            .then_with(|| one.name.cmp(&other.name));
        let rates = if reversed { rates.reverse() } else { rates };
        other.uplink.cmp(&one.uplink).then(rates)
    });
    shown
}

fn label(port: &PortRates) -> String {
    if port.uplink {
        format!("{} (uplink)", port.name)
    } else {
        port.name.clone()
    }
}

/// Why frames are dropped, or that the port is down.
fn note(port: &PortRates) -> String {
    let state = match port.state {
        PortState::Up => None,
        PortState::Down => Some("down"),
        PortState::Blocked => Some("blocked"),
    };
    let words: Vec<&str> = state.into_iter().chain(port.flow.reasons()).collect();
    words.join(", ")
}

/// What the columns of rates and 17 characters of a reason leave for names, and not more than they need.
fn name_width(width: usize, longest: usize) -> usize {
    const REASON: usize = 17;
    let rates = (Column::ALL.len() - 1) * (RATE + 1);
    let room = width.saturating_sub(rates + 1 + REASON);
    longest
        .min(room.max(SHORTEST_NAME))
        .clamp(SHORTEST_NAME, LONGEST_NAME)
}

fn heading(name: usize, sorted_by: Column, reversed: bool) -> Line {
    let mut line = Line::default();
    for column in Column::ALL {
        let is_chosen = column == sorted_by;
        let look = if is_chosen {
            Look::Chosen
        } else {
            Look::Heading
        };
        let text = column.heading();
        if column == Column::Name {
            line.push(look, format!("{text:name$}"));
        } else {
            line.push(Look::Heading, " ");
            line.push(look, format!("{text:>RATE$}"));
        }
    }
    let order = if reversed { " (reversed)" } else { "" };
    line.push(Look::Heading, format!(" WHY{order}"));
    line
}

fn row(port: &PortRates, name: usize) -> Line {
    let shown = label(port);
    let shown = if shown.chars().count() > name {
        let start: String = shown.chars().take(name - 1).collect();
        start + "~"
    } else {
        shown
    };
    let is_up = port.state == PortState::Up;
    let look = if !is_up {
        Look::Wrong
    } else if port.uplink {
        Look::Strong
    } else {
        Look::Plain
    };
    let mut line = Line::of(look, format!("{shown:name$}"));
    for column in &Column::ALL[1..] {
        let value = column.rate(&port.flow);
        let look = match (column, value > 0.0) {
            (Column::Drops, true) => Look::Wrong,
            (_, true) => Look::Plain,
            (_, false) => Look::Faint,
        };
        line.push(look, format!(" {:>RATE$}", rate(value)));
    }
    let look = if is_up { Look::Plain } else { Look::Wrong };
    line.push(look, format!(" {}", note(port)));
    line
}

#[cfg(test)]
mod tests;
