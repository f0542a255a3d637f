//! A confusion matrix as a heat map.

use super::page::{Text, count, figure};

/// From this share on a cell is dark enough for the other ink: both then have a contrast of 4.5 or more, in the light
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
            format!(" style=\"min-width:{}rem\"", 9 + 2 * genres.len())
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
        out += &format!("<tr><th scope=\"row\" title=\"{genre}\">{genre}</th>");
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
            let full = if share >= FULL { "full" } else { "" };
            out += &format!(
                "<td class=\"{full} {right}\" style=\"--share:{share:.3}\" title=\"{} of {} {what} of {genre} named {}\">{}<small>{:.0}\u{202F}%</small></td>",
                count(cell),
                count(sum),
                Text(&genres[answer]),
                count(cell),
                100.0 * share
            );
        }
        out += "</tr>\n";
    }
    figure(caption, &(out + "</tbody>\n</table></div>\n"))
}
