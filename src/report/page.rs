//! The frame of a report and the small parts that every report is made of.

use std::fmt::{self, Display, Write};

use serde::{Deserialize, Serialize};

/// A file's or a person's text, escaped for an element's content and for a quoted attribute.
///
/// Control characters, which no XML may hold, become U+FFFD.
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);
        impl Write for Escape<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for c in text.chars() {
                    match c {
                        '&' => self.0.write_str("&amp;")?,
                        '<' => self.0.write_str("&lt;")?,
                        '>' => self.0.write_str("&gt;")?,
                        '"' => self.0.write_str("&quot;")?,
                        '\'' => self.0.write_str("&#39;")?,
                        '\n' | '\t' => self.0.write_char(c)?,
                        '\u{FFFE}' | '\u{FFFF}' => self.0.write_char('\u{FFFD}')?,
                        c if c.is_control() => self.0.write_char('\u{FFFD}')?,
                        c => self.0.write_char(c)?,
                    }
                }
                Ok(())
            }
        }
        write!(Escape(f), "{}", self.0)
    }
}

/// A named list of settings: `training` with `learning rate` = `0.005`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Settings {
    /// What they are about.
    pub group: String,
    /// Name and value, in the order of showing.
    pub values: Vec<(String, String)>,
}

/// A whole document; `body` is markup.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n\
         <html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"/>\n\
         <meta name=\"generator\" content=\"sonograd {version}\"/>\n\
         <link rel=\"icon\" href=\"data:,\"/>\n<title>{title}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n\
         {body}<footer>Made by sonograd {version}.</footer>\n</main>\n</body>\n</html>\n",
        version = env!("CARGO_PKG_VERSION"),
        title = Text(title),
        css = include_str!("report.css"),
    )
}

/// A part of the page with its heading; `body` is markup.
pub(super) fn section(heading: &str, body: &str) -> String {
    format!("<section>\n<h2>{}</h2>\n{body}</section>\n", Text(heading))
}

/// A figure with its caption; `body` is markup.
pub(super) fn figure(caption: &str, body: &str) -> String {
    format!(
        "<figure>\n<figcaption>{}</figcaption>\n{body}</figure>\n",
        Text(caption)
    )
}

/// Lists of settings, side by side where there is room.
pub(super) fn settings(groups: &[Settings]) -> String {
    let mut out = String::from("<div class=\"grid\">\n");
    for group in groups.iter().filter(|group| !group.values.is_empty()) {
        out += &format!("<div>\n<h3>{}</h3>\n<dl>\n", Text(&group.group));
        for (name, value) in &group.values {
            out += &format!("<dt>{}</dt><dd>{}</dd>\n", Text(name), Text(value));
        }
        out += "</dl>\n</div>\n";
    }
    out + "</div>\n"
}

/// How a column of a [`table`] is set.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Column {
    /// The row's name.
    Head,
    Text,
    Number,
    /// A file's name.
    File,
}

/// A table with one row of headings. Headings are text; `rows` are markup, as many cells as there are columns.
pub(super) fn table(columns: &[(&str, Column)], rows: &[Vec<String>]) -> String {
    let mut out = String::from("<div class=\"scroll\"><table class=\"data\">\n<thead><tr>");
    for (name, column) in columns {
        out += &format!("<th scope=\"col\"{}>{}</th>", column.class(), Text(name));
    }
    out += "</tr></thead>\n<tbody>\n";
    for row in rows {
        out += "<tr>";
        for (cell, (_, column)) in row.iter().zip(columns) {
            out += &if *column == Column::Head {
                format!("<th scope=\"row\">{cell}</th>")
            } else {
                format!("<td{}>{cell}</td>", column.class())
            };
        }
        out += "</tr>\n";
    }
    out + "</tbody>\n</table></div>\n"
}

impl Column {
    fn class(self) -> &'static str {
        match self {
            Self::Head | Self::Text => "",
            Self::Number => " class=\"n\"",
            Self::File => " class=\"file\"",
        }
    }
}

/// A share with its 95 % interval on a line from 0 to 1, and the chance level as a tick.
pub(super) fn strip(share: f64, interval: Option<(f64, f64)>, chance: Option<f64>) -> String {
    let x = |value: f64| {
        200.0
            * if value.is_nan() {
                0.0
            } else {
                value.clamp(0.0, 1.0)
            }
    };
    let line = |class: &str, x1: f64, x2: f64, y1: f64, y2: f64| {
        format!("<line class=\"{class}\" x1=\"{x1:.1}\" x2=\"{x2:.1}\" y1=\"{y1}\" y2=\"{y2}\"/>")
    };
    let mut out = String::from(
        "<svg class=\"strip\" viewBox=\"-2 0 204 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
    );
    out += &line("track", 0.0, 200.0, 10.0, 10.0);
    if let Some((low, high)) = interval {
        out += &line("range", x(low), x(high), 10.0, 10.0);
    }
    if let Some(chance) = chance {
        out += &line("chance", x(chance), x(chance), 2.0, 18.0);
    }
    out += &line("point", x(share), x(share), 3.0, 17.0);
    out + "</svg>"
}

/// `87.5 %`, or a dash where it is no number.
pub(super) fn percent(share: f64) -> String {
    if share.is_finite() {
        format!("{:.1}\u{202F}%", 100.0 * share)
    } else {
        "–".into()
    }
}

/// `71.2 to 90.1 %`, cut to 0 to 100 %.
pub(super) fn percent_range((low, high): (f64, f64)) -> String {
    let cut = |share: f64| 100.0 * share.clamp(0.0, 1.0);
    if low.is_finite() && high.is_finite() {
        format!("{:.1} to {:.1}\u{202F}%", cut(low), cut(high))
    } else {
        "–".into()
    }
}

/// `61,071`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 song`, `12 songs`.
pub(super) fn plural(number: u64, one: &str) -> String {
    format!(
        "{} {one}{}",
        count(number),
        if number == 1 { "" } else { "s" }
    )
}

/// A time for people: `0.42 s`, `12.3 s`, `4 min 05 s`, `2 h 07 min`; a dash where it is no number.
pub(super) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "–".into();
    }
    let whole = seconds.round() as u64;
    match seconds {
        s if s < 9.995 => format!("{s:.2} s"),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3599.5 => format!("{} min {:02} s", whole / 60, whole % 60),
        s => {
            let minutes = (s / 60.0).round() as u64;
            format!("{} h {:02} min", count(minutes / 60), minutes % 60)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_leave_its_place() {
        let hostile = "</title><script>alert('x')</script> \"&amp;\" \u{1}\u{7f}\u{FFFF}\n";
        assert_eq!(
            Text(hostile).to_string(),
            "&lt;/title&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &quot;&amp;amp;&quot; \u{FFFD}\u{FFFD}\u{FFFD}\n"
        );
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(
            [0, 999, 1000, 61_071, 1_650_442].map(count),
            ["0", "999", "1,000", "61,071", "1,650,442"]
        );
        assert_eq!(
            [
                0.42,
                9.99,
                9.999,
                12.34,
                59.99,
                245.0,
                3599.7,
                7620.0,
                f64::NAN
            ]
            .map(duration),
            [
                "0.42 s",
                "9.99 s",
                "10.0 s",
                "12.3 s",
                "1 min 00 s",
                "4 min 05 s",
                "1 h 00 min",
                "2 h 07 min",
                "–"
            ]
        );
        assert_eq!(percent(0.875), "87.5\u{202F}%");
        assert_eq!(percent(f64::NAN), "–");
        assert_eq!(percent_range((-0.2, 1.3)), "0.0 to 100.0\u{202F}%");
        assert_eq!(
            (plural(1, "song"), plural(1200, "song")),
            ("1 song".into(), "1,200 songs".into())
        );
    }
}
