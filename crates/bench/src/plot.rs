//! The figure: how the time of an access grows with the policy.

use std::error::Error;

use plotters::prelude::*;

use crate::accesses::{Case, Group, SIZES};

const COLOURS: [RGBColor; 7] = [
    RGBColor(0x1b, 0x6c, 0xa8),
    RGBColor(0xd1, 0x49, 0x2e),
    RGBColor(0x2e, 0x8b, 0x57),
    RGBColor(0x8a, 0x4f, 0xa8),
    RGBColor(0xb8, 0x86, 0x0b),
    RGBColor(0x55, 0x55, 0x55),
    RGBColor(0x00, 0x9e, 0x9e),
];

/// One panel for each access: the ratio to `return 1` over the number of rules.
///
/// # Errors
///
/// The figure cannot be drawn.
pub(crate) fn svg(groups: &[Group]) -> Result<String, Box<dyn Error>> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (1000, 760)).into_drawing_area();
        root.fill(&WHITE)?;
        for (panel, group) in root.split_evenly((2, 2)).iter().zip(groups) {
            draw(panel, group)?;
        }
        root.present()?;
    }
    Ok(text)
}

fn draw(
    panel: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    group: &Group,
) -> Result<(), Box<dyn Error>> {
    let kind = if group.access.new.is_some() { "write" } else { "read" };
    let highest = group.rows.iter().map(|row| row.ratio.median).fold(1.5, f64::max);
    let mut chart = ChartBuilder::on(panel)
        .caption(format!("{kind} {}", group.access.knob), ("sans-serif", 14))
        .margin(12)
        .x_label_area_size(32)
        .y_label_area_size(44)
        .build_cartesian_2d((1..10_000_usize).log_scale(), 0.9..highest * 1.05)?;
    chart
        .configure_mesh()
        .x_desc("rules")
        .y_desc("times as long as under return 1")
        .x_label_formatter(&|rules| rules.to_string())
        .light_line_style(TRANSPARENT)
        .draw()?;
    let cases = [
        Case::Miss,
        Case::MissApart,
        Case::Namesake,
        Case::OtherKind,
        Case::Hit,
        Case::Bound,
        Case::Rewrite,
        Case::GlobMiss,
        Case::GlobHit,
    ];
    let drawn = cases.into_iter().filter(|case| group.rows.iter().any(|row| row.case == *case));
    for (case, colour) in drawn.zip(COLOURS) {
        let points =
            SIZES.into_iter().filter_map(|rules| Some((rules, group.row(case, rules)?.ratio.median)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(3))?
            .label(case.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 11))
        .draw()?;
    Ok(())
}
