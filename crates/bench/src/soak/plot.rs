//! The samples as a picture: one small curve for each quantity, from zero up.

use std::fmt::Write as _;

/// Width of one curve in pixels; below, its height, and the room for its title and numbers.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 130.0;
const COLUMNS: usize = 2;
const LEFT: f64 = 12.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 14.0;

/// Colours for light and dark paper.
const STYLE: &str = "svg{background:#fff;color:#222;font:12px sans-serif}text{fill:currentColor}.m{fill:#777}\
    .c{fill:none;stroke:#1668b8;stroke-width:1.5}.a{stroke:#ccc}.w{fill:#888;fill-opacity:.07}\
    @media(prefers-color-scheme:dark){svg{background:#16181c;color:#ddd}.m{fill:#999}.c{stroke:#6cb2f5}.a{stroke:#444}}";

pub(super) struct Curve {
    pub(super) title: String,
    /// The verdict on it.
    pub(super) verdict: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) digits: usize,
}

/// Draws the curves. `judged_from` is the minute at which the judged time begins.
pub(super) fn svg(curves: &[Curve], judged_from: f64) -> String {
    let (width, height) = (WIDTH * COLUMNS as f64, HEIGHT * curves.len().div_ceil(COLUMNS) as f64);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
         <style>{STYLE}</style>\n"
    );
    for (place, curve) in curves.iter().enumerate() {
        let (x, y) = ((place % COLUMNS) as f64 * WIDTH, (place / COLUMNS) as f64 * HEIGHT);
        // Writing to a string does not fail.
        let _ =
            writeln!(out, "<g transform=\"translate({x},{y})\">{}</g>", one(curve, judged_from));
    }
    out.push_str("</svg>\n");
    out
}

fn one(Curve { title, verdict, points, digits }: &Curve, judged_from: f64) -> String {
    let end = points.last().map_or(1.0, |(at, _)| at.max(0.01));
    let highest = points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
    let top = if highest > 0.0 { highest } else { 1.0 };
    let (wide, high) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let across = |at: f64| LEFT + at / end * wide;
    let down = |value: f64| TOP + (1.0 - value / top) * high;
    let line: Vec<String> = points
        .iter()
        .map(|(at, value)| format!("{:.1},{:.1}", across(*at), down(*value)))
        .collect();
    let last = points.last().map_or(0.0, |(_, value)| *value);
    let (judged, floor, edge) = (across(judged_from.min(end)), TOP + high, WIDTH - RIGHT);
    format!(
        "<rect class=\"w\" x=\"{judged:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{high}\"/>\
         <path class=\"a\" d=\"M{LEFT},{floor}H{edge}\"/>\
         <text x=\"{LEFT}\" y=\"16\">{title}</text><text class=\"m\" x=\"{edge}\" y=\"16\" text-anchor=\"end\">{verdict}</text>\
         <text class=\"m\" x=\"{LEFT}\" y=\"31\" font-size=\"10\">highest {highest:.digits$}, last {last:.digits$}</text>\
         <text class=\"m\" x=\"{edge}\" y=\"{:.1}\" font-size=\"10\" text-anchor=\"end\">{end:.1} min</text>\
         <polyline class=\"c\" points=\"{}\"/>",
        edge - judged,
        HEIGHT - 3.0,
        line.join(" "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_stays_in_its_frame() {
        let curve = |points| Curve { title: "t".into(), verdict: "flat".into(), points, digits: 0 };
        let picture =
            svg(&[curve(vec![(0.0, 0.0), (1.0, 50.0), (2.0, 100.0)]), curve(Vec::new())], 0.7);
        assert!(picture.contains("points=\"12.0,116.0 200.0,76.0 388.0,36.0\""), "{picture}");
        assert!(picture.contains("highest 100, last 100") && !picture.contains("NaN"), "{picture}");
    }
}
