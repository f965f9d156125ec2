//! A line of text that is being edited.

use super::keys::Key;

/// How many characters it may have.
const LENGTH_MAX: usize = 1000;

/// A line of text with a cursor.
#[derive(Debug, Clone, Default)]
pub(super) struct LineEditor {
    text: Vec<char>,
    /// Before which character the cursor is.
    cursor: usize,
}

impl LineEditor {
    /// With this text, and the cursor at its end.
    pub(super) fn new(text: &str) -> Self {
        let text: Vec<char> = text.chars().take(LENGTH_MAX).collect();
        Self { cursor: text.len(), text }
    }

    pub(super) fn text(&self) -> String {
        self.text.iter().collect()
    }

    /// What is before the cursor, and what comes after it.
    pub(super) fn around_cursor(&self) -> (String, String) {
        let (before, after) = self.text.split_at(self.cursor);
        (before.iter().collect(), after.iter().collect())
    }

    pub(super) fn key(&mut self, key: Key) {
        match key {
            Key::Char(c) if self.text.len() < LENGTH_MAX => {
                self.text.insert(self.cursor, c);
                self.cursor += 1;
            }
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.text.remove(self.cursor);
            }
            Key::Delete if self.cursor < self.text.len() => drop(self.text.remove(self.cursor)),
            Key::Left => self.cursor = self.cursor.saturating_sub(1),
            Key::Right => self.cursor = (self.cursor + 1).min(self.text.len()),
            Key::Home | Key::Ctrl('a') => self.cursor = 0,
            Key::End | Key::Ctrl('e') => self.cursor = self.text.len(),
            Key::Ctrl('u') => {
                self.text.drain(..self.cursor);
                self.cursor = 0;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_edit_the_text_at_the_cursor() {
        let mut line = LineEditor::new("uid == 0");
        for key in [Key::Home, Key::Char('g'), Key::Delete, Key::End, Key::Backspace, Key::Char('1')] {
            line.key(key);
        }
        assert_eq!(line.text(), "gid == 1");
        for key in [Key::Left, Key::Left, Key::Right, Key::Ctrl('u'), Key::Left, Key::Backspace] {
            line.key(key);
        }
        assert_eq!(line.around_cursor(), (String::new(), "1".to_owned()));
        (0..2 * LENGTH_MAX).for_each(|_| line.key(Key::Char('x')));
        assert_eq!(line.text().len(), LENGTH_MAX);
    }
}
