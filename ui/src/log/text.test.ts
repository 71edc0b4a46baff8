import { describe, expect, it } from "vitest";
import { plain, spansOf, states, visible } from "./text";

const bytes = (text: string) => new TextEncoder().encode(text);

describe("states", () => {
  it("are what a progress bar showed", () => {
    expect(states("10%\r50%\r100%")).toEqual(["10%", "50%", "100%"]);
    expect(states("a line\r")).toEqual(["a line"]);
    expect(states("plain")).toEqual(["plain"]);
    expect(states("half\r\rdone\r\r")).toEqual(["half", "done"]);
  });
});

describe("visible", () => {
  it("takes out what would steer a terminal", () => {
    expect(visible("a\x1b[2Jb\x1b]0;title\x07c\x1b[?25ld\x1bce\x1b(Bf")).toBe("abcdef");
    expect(visible("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\")).toBe("link");
    expect(visible("cut \x1b]52;c;AAAA")).toBe("cut ");
  });
  it("shows controls and marks that reorder", () => {
    expect(visible("\x00\x07\x7f")).toBe("␀␇␡");
    expect(visible("a\u202eb")).toBe("a⟨U+202E⟩b");
    expect(visible("tab\there")).toBe("tab\there");
  });
  it("keeps colours", () => {
    expect(visible("\x1b[31mred\x1b[0m")).toBe("\x1b[31mred\x1b[0m");
  });
});

describe("spansOf", () => {
  it("has colours and decorations as classes", () => {
    const [red, rest] = spansOf("\x1b[1;31mred\x1b[0m rest");
    expect(red).toMatchObject({ text: "red", classes: ["bold", "ansi-red"] });
    expect(rest).toMatchObject({ text: " rest", classes: [] });
    expect(spansOf("\x1b[38;2;1;2;3mx")[0]).toMatchObject({ text: "x", color: "1, 2, 3" });
    expect(spansOf("\x1b[44mx")[0]?.classes).toEqual(["ansi-blue-bg"]);
  });
  it("links addresses and no more", () => {
    expect(spansOf("see https://example.org/a?b=1, or (http://x.y).").map((span) => [span.text, span.href])).toEqual([
      ["see ", undefined],
      ["https://example.org/a?b=1", "https://example.org/a?b=1"],
      [", or (", undefined],
      ["http://x.y", "http://x.y"],
      [").", undefined],
    ]);
    expect(spansOf("javascript:alert(1) data:text/html,x").some((span) => span.href)).toBe(false);
  });
  it("never loses text that is none of a sequence", () => {
    expect(
      spansOf("<script>alert('&amp;')</script>")
        .map((span) => span.text)
        .join(""),
    ).toBe("<script>alert('&amp;')</script>");
    expect(
      spansOf("\x1b[31m<b>&lt;\x1b[0m")
        .map((span) => span.text)
        .join(""),
    ).toBe("<b>&lt;");
    expect(spansOf("")).toEqual([]);
  });
});

it("plain is the last state without styles", () => {
  expect(plain(bytes("1%\r\x1b[32m100%\x1b[0m\r"))).toBe("100%");
});
