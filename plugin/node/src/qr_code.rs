//! A link as a picture for a camera, of characters that are half as high as they are wide apart.

use std::fmt::Write;

use anyhow::anyhow;
use qrcodegen::{QrCode, QrCodeEcc};

/// Light modules around it, as the standard asks for (ISO/IEC 18004, clause 6.3.8).
const QUIET: i32 = 4;

/// The code as text: two rows of modules to a line. `colours` makes it black on white whatever the terminal's own are;
/// without, it is right where letters are light on dark.
pub(crate) fn draw(text: &str, colours: bool) -> anyhow::Result<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Low).map_err(|_| {
        anyhow!("the link is too long for a picture; send it as text, or invite with fewer places")
    })?;
    let mut picture = String::new();
    let range = -QUIET..code.size() + QUIET;
    // Outside of the code all is light.
    let is_light = |x, y| !code.get_module(x, y);
    for y in range.clone().step_by(2) {
        if colours {
            picture += "\x1b[97;40m";
        }
        picture.extend(range.clone().map(|x| match (is_light(x, y), is_light(x, y + 1)) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        }));
        // Writing to a string cannot fail.
        writeln!(picture, "{}", if colours { "\x1b[0m" } else { "" }).ok();
    }
    Ok(picture)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the characters back as modules: rows of whether each is light.
    fn modules(picture: &str) -> Vec<Vec<bool>> {
        let halves = |line: &str, upper: bool| {
            line.chars().map(|half| matches!((half, upper), ('█', _) | ('▀', true) | ('▄', false))).collect()
        };
        picture.lines().flat_map(|line| [halves(line, true), halves(line, false)]).collect()
    }

    #[test]
    fn the_picture_has_the_modules_of_the_code_and_a_quiet_zone() {
        let text = "audiocloud://join/oWFhAQ";
        let code = QrCode::encode_text(text, QrCodeEcc::Low).unwrap();
        let drawn = modules(&draw(text, false).unwrap());
        let size = usize::try_from(code.size() + 2 * QUIET).unwrap();
        assert!(drawn.len() >= size && drawn.iter().all(|row| row.len() == size));
        for (y, row) in (-QUIET..).zip(&drawn) {
            for (x, light) in (-QUIET..).zip(row) {
                assert_eq!(*light, !code.get_module(x, y), "at {x}, {y}");
            }
        }
        // The finder at the corner: a ring of seven, dark.
        assert!(drawn[3][4..11].iter().all(|light| *light) && drawn[4][4..11].iter().all(|light| !light));
    }

    #[test]
    fn a_link_that_is_too_long_is_said_to_be() {
        assert!(draw(&"x".repeat(2_000), true).is_ok());
        assert!(draw(&"x".repeat(4_000), true).unwrap_err().to_string().contains("send it as text"));
    }
}
