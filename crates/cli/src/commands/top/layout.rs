//! Where things are on the screen.

use ratatui::layout::{Rect, Size};

use super::pane::Pane;

/// The smallest screen on which everything fits.
pub(super) const SMALLEST: Size = Size { width: 80, height: 24 };
/// The lines above the panes.
const HEADER: u16 = 4;
/// The lines below them.
const FOOTER: u16 = 1;
/// The lines of a pane that has not the focus, on the smallest screen.
const SMALLEST_PANE: u16 = 3;

/// The places of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) header: Rect,
    /// All panes together.
    pub(super) body: Rect,
    /// In the order of [`Pane::ALL`]. The first line of each is its heading.
    pub(super) panes: [Rect; 4],
    pub(super) footer: Rect,
}

impl Layout {
    /// For a screen of this size. The pane with the focus gets most. `None` if the screen is too small.
    pub(super) fn new(Size { width, height }: Size, focus: Pane) -> Option<Self> {
        if width < SMALLEST.width || height < SMALLEST.height {
            return None;
        }
        let rows = |y: u16, height: u16| Rect { x: 0, y, width, height };
        let body = rows(HEADER, height - HEADER - FOOTER);
        let small = SMALLEST_PANE.max(body.height / 6);
        let mut y = body.y;
        let panes = Pane::ALL.map(|pane| {
            let height = if pane == focus { body.height - 3 * small } else { small };
            y += height;
            rows(y - height, height)
        });
        Some(Self { header: rows(0, HEADER), body, panes, footer: rows(height - FOOTER, FOOTER) })
    }

    /// How many rows the pane with the focus has.
    pub(super) fn page(&self, focus: Pane) -> usize {
        usize::from(self.panes[focus as usize].height - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_panes_fill_the_screen() {
        for (width, height) in [(80, 24), (120, 40), (80, 25), (u16::MAX, u16::MAX)] {
            for focus in Pane::ALL {
                let layout = Layout::new(Size { width, height }, focus).unwrap();
                let mut y = layout.header.bottom();
                for pane in layout.panes {
                    assert!(pane.y == y && pane.width == width && pane.height >= SMALLEST_PANE);
                    y = pane.bottom();
                }
                assert_eq!((y, layout.footer.bottom()), (layout.footer.y, height));
                assert!(layout.page(focus) > usize::from(SMALLEST_PANE));
            }
        }
        for (width, height) in [(79, 24), (80, 23), (0, 0)] {
            assert_eq!(Layout::new(Size { width, height }, Pane::Events), None);
        }
    }
}
