//! What is on the screen, and how keys and events change it. Nothing here reads a clock, a terminal or the kernel.

use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;
use std::time::SystemTime;

use knobgate_events::StreamItem;
use knobgate_policy::Source;
use knobgate_policy::filter::Filter;
use ratatui::layout::Size;

use super::activity::{Activity, Entry, SECOND, events};
use super::detail;
use super::earlier::Earlier;
use super::keys::Key;
use super::layout::Layout;
use super::line_editor::LineEditor;
use super::pane::{Order, Pane};
use super::rows;
use super::tallies::Attached;

/// Everything that is on the screen.
#[derive(Debug)]
pub(super) struct Model {
    /// Whose events these are, in words.
    pub(super) whose: String,
    /// What the reader cannot do, in words.
    pub(super) missing: BTreeSet<String>,
    pub(super) now: Moment,
    pub(super) size: Size,
    activity: Activity,
    /// What there was when the screen was paused, and when that was.
    paused: Option<(Box<Activity>, Moment)>,
    /// How many events came since then.
    pub(super) since_paused: u64,
    filter: Option<Filter>,
    /// Its text.
    pub(super) filter_text: String,
    pub(super) focus: Pane,
    /// By pane: which row is chosen. Without one it is the first, whichever that is.
    chosen: [Option<Chosen>; 4],
    /// By pane: which of its orders.
    order: [usize; 4],
    pub(super) over: Option<Over>,
}

/// A moment, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// In nanoseconds of `CLOCK_BOOTTIME`.
    pub(super) boot_time: u64,
    pub(super) wall: SystemTime,
}

/// A row, and where it was when it was chosen, in case it is gone.
#[derive(Debug, Clone, Copy)]
struct Chosen {
    id: u64,
    index: usize,
}

/// What is in front of the panes.
#[derive(Debug, Clone)]
pub(super) enum Over {
    Detail { of: Subject, scrolled: usize },
    Help { scrolled: usize },
    Filter { line: LineEditor, error: Option<String> },
}

/// What details are about: the id of a row, or an event.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    Attachment(u64),
    Rule(u64),
    Event(Rc<Entry>),
    Knob(u64),
}

/// What a key asks for beyond the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    Quit,
    Suspend,
}

impl Model {
    pub(super) fn new(
        whose: String,
        filter: Option<(String, Filter)>,
        earlier: Earlier,
        now: Moment,
    ) -> Self {
        let (filter_text, filter) = filter.unzip();
        Self {
            whose,
            missing: BTreeSet::new(),
            now,
            size: Size::default(),
            activity: Activity::new(earlier, filter.as_ref()),
            paused: None,
            since_paused: 0,
            filter,
            filter_text: filter_text.unwrap_or_default(),
            focus: Pane::Rules,
            chosen: [None; 4],
            order: [0; 4],
            over: None,
        }
    }

    /// Something has happened.
    pub(super) fn item(&mut self, item: StreamItem) {
        if self.paused.is_some() {
            self.since_paused = self.since_paused.saturating_add(events(&item));
        }
        self.activity.add(item, self.filter.as_ref());
    }

    /// Time has passed.
    pub(super) fn tick(&mut self, now: Moment) {
        self.now = now;
        self.activity.tick(now.boot_time);
    }

    /// The attachments are these now.
    pub(super) fn attached(&mut self, attached: Vec<Attached>) {
        self.activity.attached(attached, self.now.boot_time);
    }

    /// The cgroups on the screen of which it is not known that they are gone, with their paths.
    pub(super) fn cgroups(&self) -> impl Iterator<Item = (u64, Option<&[u8]>)> {
        self.activity.cgroups()
    }

    /// The policies without attachment on the screen of which it is not known that they are gone, by their memories.
    pub(super) fn policies(&self) -> impl Iterator<Item = u64> {
        self.activity.policies()
    }

    /// These cgroups were removed, and so were the programs with these memories.
    pub(super) fn gone(&mut self, cgroups: &HashSet<u64>, policies: &HashSet<u64>) {
        self.activity.gone(cgroups, policies, self.now.boot_time);
    }

    pub(super) fn resize(&mut self, size: Size) {
        self.size = size;
    }

    /// What is shown: what there is now, or was when the screen was paused.
    pub(super) fn activity(&self) -> &Activity {
        self.paused.as_ref().map_or(&self.activity, |(activity, _)| activity)
    }

    /// The second for which that is.
    pub(super) fn second(&self) -> u64 {
        self.paused.as_ref().map_or(self.now, |(_, then)| *then).boot_time / SECOND
    }

    /// How many events were lost, also while the screen is paused.
    pub(super) fn lost(&self) -> u64 {
        self.activity.lost
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.is_some()
    }

    pub(super) fn order(&self, pane: Pane) -> Order {
        pane.orders()[self.order[pane as usize]]
    }

    /// The index of the chosen row among these.
    pub(super) fn chosen(&self, pane: Pane, ids: &[u64]) -> usize {
        let Some(Chosen { id, index }) = self.chosen[pane as usize] else { return 0 };
        let found = ids.iter().position(|&other| other == id);
        found.unwrap_or(index).min(ids.len().saturating_sub(1))
    }

    pub(super) fn key(&mut self, key: Key) -> Option<Request> {
        match (key, &mut self.over) {
            (Key::Ctrl('c'), _) => return Some(Request::Quit),
            (Key::Ctrl('z'), _) => return Some(Request::Suspend),
            (key, Some(Over::Filter { .. })) => self.filter_key(key),
            (Key::Char('q'), _) => return Some(Request::Quit),
            (Key::Escape, None) => return Some(Request::Quit),
            (Key::Escape, Some(_)) => self.over = None,
            (Key::Char('?'), Some(Over::Help { .. })) => self.over = None,
            (Key::Char('?'), _) => self.over = Some(Over::Help { scrolled: 0 }),
            (Key::Char('p' | ' '), _) => self.pause(),
            (key, Some(Over::Detail { .. } | Over::Help { .. })) => self.scroll(key),
            (Key::Char('/'), None) => {
                self.over = Some(Over::Filter { line: LineEditor::new(&self.filter_text), error: None });
            }
            (Key::Tab, None) => self.focus = self.focus.next(true),
            (Key::BackTab, None) => self.focus = self.focus.next(false),
            (Key::Char('s'), None) => {
                let order = &mut self.order[self.focus as usize];
                *order = (*order + 1) % self.focus.orders().len();
            }
            (Key::Enter, None) => self.open_detail(),
            (key, None) => self.choose(key),
        }
        None
    }

    fn pause(&mut self) {
        self.since_paused = 0;
        self.paused = match self.paused {
            Some(_) => None,
            None => Some((Box::new(self.activity.clone()), self.now)),
        };
    }

    fn choose(&mut self, key: Key) {
        let Some(layout) = Layout::new(self.size, self.focus) else { return };
        let ids = rows::ids(self, self.focus);
        let Some(last) = ids.len().checked_sub(1) else { return };
        let Some(index) = moved(self.chosen(self.focus, &ids), key, layout.page(self.focus)) else { return };
        let index = index.min(last);
        // At the top, what comes next is chosen.
        self.chosen[self.focus as usize] = (index > 0).then(|| Chosen { id: ids[index], index });
    }

    fn open_detail(&mut self) {
        let ids = rows::ids(self, self.focus);
        let Some(&id) = ids.get(self.chosen(self.focus, &ids)) else { return };
        let of = match self.focus {
            Pane::Attachments => Subject::Attachment(id),
            Pane::Rules => Subject::Rule(id),
            Pane::Knobs => Subject::Knob(id),
            Pane::Events => {
                let entry = self.activity().shown().items.iter().find(|entry| entry.id == id);
                let Some(entry) = entry else { return };
                Subject::Event(Rc::clone(entry))
            }
        };
        self.over = Some(Over::Detail { of, scrolled: 0 });
    }

    fn scroll(&mut self, key: Key) {
        let Some(layout) = Layout::new(self.size, self.focus) else { return };
        let page = usize::from(layout.body.height) - 1;
        let lines = detail::lines(self, usize::from(layout.body.width)).len();
        let (Some(Over::Detail { scrolled, .. } | Over::Help { scrolled }), last) =
            (&mut self.over, lines.saturating_sub(page))
        else {
            return;
        };
        if let Some(moved) = moved(*scrolled, key, page) {
            *scrolled = moved.min(last);
        }
    }

    fn filter_key(&mut self, key: Key) {
        let Some(Over::Filter { line, error }) = &mut self.over else { return };
        match key {
            Key::Escape => self.over = None,
            Key::Enter => {
                let text = line.text().trim().to_owned();
                if text == self.filter_text {
                    self.over = None;
                    return;
                }
                match parse_filter(&text) {
                    Ok(filter) => {
                        (self.filter, self.filter_text, self.over) = (filter, text, None);
                        self.chosen = [None; 4];
                        self.activity.filter(self.filter.as_ref(), self.now.boot_time);
                        if let Some((paused, then)) = &mut self.paused {
                            paused.filter(self.filter.as_ref(), then.boot_time);
                        }
                    }
                    Err(why) => *error = Some(why),
                }
            }
            key => {
                line.key(key);
                *error = None;
            }
        }
    }
}

/// Where a key leads to from `index`; `None` if it is another key.
fn moved(index: usize, key: Key, page: usize) -> Option<usize> {
    Some(match key {
        Key::Up | Key::Char('k') => index.saturating_sub(1),
        Key::Down | Key::Char('j') => index + 1,
        Key::PageUp => index.saturating_sub(page),
        Key::PageDown => index + page,
        Key::Home => 0,
        Key::End => usize::MAX,
        _ => return None,
    })
}

/// The filter; `None` for an empty text.
///
/// # Errors
/// What is wrong with it, on one line.
fn parse_filter(text: &str) -> Result<Option<Filter>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    Filter::parse(Source::new("filter", text.to_owned())).map(Some).map_err(|error| {
        let Some(first) = error.diagnostics().first() else { return error.to_string() };
        let column = text.get(..first.primary.span.start).map_or(0, |before| before.chars().count()) + 1;
        let more = [Some(&first.primary.text), first.help.as_ref()].into_iter().flatten();
        let more: String = more.filter(|text| !text.is_empty()).map(|text| format!("; {text}")).collect();
        format!("at character {column}: {}{more}", first.message)
    })
}
