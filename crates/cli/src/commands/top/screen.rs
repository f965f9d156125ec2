//! The terminal: it is taken over while the command runs, and given back however that ends.

use std::io::{self, BufWriter, Stdout, Write};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui::backend::{Backend, ClearType, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::style::{ResetColor, force_color_output};
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::crossterm::{execute, queue};
use ratatui::layout::{Rect, Size};
use rustix::termios::tcgetwinsize;

use super::draw::draw;
use super::model::Model;

/// The largest screen that is drawn. No terminal has more, and one that says so gets no more memory.
const LARGEST: Size = Size { width: 1000, height: 500 };

/// Whether the terminal is taken over. A panic has to give it back without the [`Screen`].
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The terminal, taken over until this is dropped.
#[derive(Debug)]
pub(super) struct Screen {
    backend: CrosstermBackend<BufWriter<Stdout>>,
    /// What is on it.
    shown: Buffer,
    has_colours: bool,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// Its modes cannot be set, or it cannot be written to.
    pub(super) fn take(has_colours: bool) -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let report = panic::take_hook();
            panic::set_hook(Box::new(move |panic| {
                // The report would go with the screen that is left.
                give_back();
                report(panic);
            }));
        });
        // Colours were decided by who has made this.
        force_color_output(has_colours);
        let backend = CrosstermBackend::new(BufWriter::with_capacity(1 << 16, io::stdout()));
        let mut screen = Self { backend, shown: Buffer::default(), has_colours };
        screen.take_again()?;
        Ok(screen)
    }

    /// Takes it over after it was given back, or after somebody may have changed its modes.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        give_back();
        TAKEN.store(true, Ordering::SeqCst);
        enable_raw_mode()?;
        queue!(self.backend, EnterAlternateScreen, Hide)?;
        self.clear()
    }

    /// Gives it back, until it is [taken again](Self::take_again).
    pub(super) fn give_back(&mut self) {
        give_back();
    }

    fn clear(&mut self) -> io::Result<()> {
        self.backend.clear_region(ClearType::All)?;
        self.shown.reset();
        Ok(())
    }

    /// Draws the model in the size that the terminal has now.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub(super) fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        let size = size();
        model.resize(size);
        if size != self.shown.area.as_size() {
            self.shown.resize(Rect::from(size));
            self.clear()?;
        }
        let mut next = Buffer::empty(self.shown.area);
        draw(model, &mut next, self.has_colours);
        self.backend.draw(self.shown.diff_iter(&next))?;
        self.shown = next;
        Backend::flush(&mut self.backend)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// The size of the terminal. One that does not know its size counts as one of the usual size.
fn size() -> Size {
    let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
    let (width, height) = size.map_or((80, 24), |size| (size.ws_col, size.ws_row));
    Size { width: width.min(LARGEST.width), height: height.min(LARGEST.height) }
}

/// Leaves the terminal as it was found. If it has gone, there is nobody to tell.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), ResetColor, Show, LeaveAlternateScreen);
        let _ = io::stdout().flush();
        let _ = disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_panic_gives_the_terminal_back_before_it_is_reported() {
        const INSIDE: &str = "KNOBGATE_PANIC_IN_A_TERMINAL";
        if std::env::var_os(INSIDE).is_some() {
            let _screen = Screen::take(false).unwrap();
            panic!("in the middle");
        }
        // This test again, in the terminal that script(1) provides.
        let program = std::env::current_exe().unwrap();
        let (_, module) = module_path!().split_once("::").unwrap();
        let inside = format!(
            "before=$(stty -g); {INSIDE}=1 {program:?} --exact --nocapture \
             {module}::a_panic_gives_the_terminal_back_before_it_is_reported; \
             [ \"$before\" = \"$(stty -g)\" ] && echo the same modes"
        );
        let mut script = Command::new("script");
        script.args(["-q", "-c", &inside, "/dev/null"]).stdin(Stdio::null());
        let output = String::from_utf8(script.output().unwrap().stdout).unwrap();
        let at = |text: &str| output.find(text).unwrap_or_else(|| panic!("no {text:?} in {output:?}"));
        let (taken, given_back) = (at("\u{1b}[?1049h"), at("\u{1b}[?1049l"));
        assert!(taken < given_back && given_back < at("in the middle"), "{output:?}");
        assert!(taken < at("\u{1b}[?25l") && at("\u{1b}[?25l") < at("\u{1b}[?25h"), "{output:?}");
        at("the same modes");
    }
}
