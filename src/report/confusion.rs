//! A confusion matrix as a heat map.

use super::page::{Text, count, figure};

/// From this opacity on a cell is dark enough for the other ink: both then have a contrast of 4.5 or more, in the light
/// scheme and in the dark one.
const FULL: f64 = 0.64;
/// More genres than this, and the cells show counts alone (the share is in their titles).
const ROOMY: usize = 14;

/// Counts by `[true genre][predicted genre]`, each cell with its share of the row; a genre's row is that of its songs or
/// segments, named by `what` in the plural.
pub(super) fn confusion(
    caption: &str,
    genres: &[String],
    counts: &[Vec<u64>],
    what: &str,
) -> String {
    let dense = if genres.len() > ROOMY { " dense" } else { "" };
    let mut out = format!(
        "<div class=\"scroll\"><table class=\"confusion{dense}\"{}>\n<thead><tr><th class=\"corner\">true genre<br/>by answer</th>",
        // Dense cells keep a width that can be read; the page scrolls where it has less.
        if dense.is_empty() {
            String::new()
        } else {
            format!(
                " style=\"min-width:{}rem\"",
                9.0 + 1.75 * genres.len() as f64
            )
        }
    );
    for genre in genres {
        let genre = Text(genre);
        out += &format!("<th scope=\"col\" title=\"{genre}\"><span>{genre}</span></th>");
    }
    out += "</tr></thead>\n<tbody>\n";
    for (truth, (genre, row)) in genres.iter().zip(counts).enumerate() {
        let sum: u64 = row.iter().sum();
        let genre = Text(genre);
        out += &format!("<tr><th scope=\"row\" title=\"{genre}\"><span>{genre}</span></th>");
        for (answer, &cell) in row.iter().enumerate() {
            let right = if truth == answer { "right" } else { "" };
            if cell == 0 {
                out += &format!(
                    "<td class=\"none {right}\">{}</td>",
                    if truth == answer { "0" } else { "" }
                );
                continue;
            }
            let share = cell as f64 / sum as f64;
            // The palest cell is darker than one with nothing in it.
            let ink = 0.08 + 0.92 * share;
            let full = if ink >= FULL { "full" } else { "" };
            out += &format!(
                "<td class=\"{full} {right}\" style=\"--ink-share:{ink:.3}\" title=\"{} of {} {what} of {genre} named {}\">{}<small>{:.0}\u{202F}%</small></td>",
                count(cell),
                count(sum),
                Text(&genres[answer]),
                count(cell),
                100.0 * share
            );
        }
        out += "</tr>\n";
    }
    let drawn = figure(caption, &(out + "</tbody>\n</table></div>\n"));
    if dense.is_empty() {
        drawn
    } else {
        format!("<div class=\"wide\">\n{drawn}</div>\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rgb = [f64; 3];

    /// Relative luminance, WCAG 2.2.
    fn luminance(color: Rgb) -> f64 {
        let linear = color.map(|channel| {
            let c = channel / 255.0;
            if c <= 0.04045 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        });
        0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    }

    fn contrast(a: Rgb, b: Rgb) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    /// The values of a colour in the style sheet: light scheme, dark scheme.
    fn colors(name: &str) -> Vec<Rgb> {
        let hex = |text: &str, at| f64::from(u8::from_str_radix(&text[at..at + 2], 16).unwrap());
        include_str!("report.css")
            .split(&format!("{name}: "))
            .skip(1)
            .map(|rest| {
                let value = rest.split(';').next().unwrap();
                match value.strip_prefix('#') {
                    Some(value) => [0, 2, 4].map(|at| hex(value, at)),
                    None => {
                        let parts: Vec<f64> =
                            value.split(' ').map(|p| p.parse().unwrap()).collect();
                        [parts[0], parts[1], parts[2]]
                    }
                }
            })
            .collect()
    }

    #[test]
    fn every_shade_can_be_read_in_both_schemes() {
        let get = |name| colors(name);
        let (paper, heat, low, full) = (
            get("--paper"),
            get("--heat"),
            get("--heat-low"),
            get("--heat-full"),
        );
        assert_eq!(paper.len(), 2);
        for scheme in 0..2 {
            for ink in (80..=1000).map(|thousandth| f64::from(thousandth) / 1000.0) {
                let cell =
                    [0, 1, 2].map(|c| ink * heat[scheme][c] + (1.0 - ink) * paper[scheme][c]);
                let text = if ink >= FULL {
                    full[scheme]
                } else {
                    low[scheme]
                };
                let contrast = contrast(cell, text);
                assert!(contrast >= 4.5, "scheme {scheme}, ink {ink}: {contrast}");
            }
        }
    }

    #[test]
    fn text_and_lines_stand_out_in_both_schemes() {
        let (paper, panel) = (colors("--paper"), colors("--panel"));
        for name in [
            "--ink", "--soft", "--warn", "--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6",
            "--c7",
        ] {
            let color = colors(name);
            assert_eq!(color.len(), 2, "{name}");
            for scheme in 0..2 {
                for ground in [paper[scheme], panel[scheme]] {
                    // 4.5 for text, 3 for lines.
                    let least = if name.starts_with("--c") { 3.0 } else { 4.5 };
                    assert!(
                        contrast(color[scheme], ground) >= least,
                        "{name} in scheme {scheme}"
                    );
                }
            }
        }
    }
}
