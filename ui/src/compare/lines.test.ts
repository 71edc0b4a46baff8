import { describe, expect, it } from "vitest";
import { differences, shownRows } from "./folds";
import { type Comparison, compare, linesOf } from "./lines";
import { normal, shownLine } from "./normal";

/** Rows as "=0/0", "~1/1", "-2", "+2". */
function rowsText(comparison: Comparison): string {
  return comparison.rows
    .map((row) => {
      if (row.kind === "removed") return `-${row.left}`;
      if (row.kind === "added") return `+${row.right}`;
      return `${row.kind === "same" ? "=" : "~"}${row.left}/${row.right}`;
    })
    .join(" ");
}

describe("normal", () => {
  const same = (one: string, other: string): void => expect(normal(one)).toBe(normal(other));

  it("takes times, addresses, durations and temp paths for the same", () => {
    same("2026-11-21T11:02:04.123Z start", "2025-01-02 03:04:05,9 start");
    same("2026-11-21 11:02:04.123456789: linking", "2025-01-02 03:04:05: linking");
    same("[11:02:04.1] start", "[23:00:00] start");
    same("Nov 21 2026 11:02:04 start", "Jan 1 2025 00:00:00 start");
    same("at 1763722924.5 it", "at 1700000000 it");
    same("object at 0x7ffd12ab>", "object at 0x1>");
    same("took 1.25s", "took 300 ms");
    same("took 1m 30s in all", "took 2 min in all");
    same("into /tmp/build-17/x.o: ok", "into /var/folders/zz/T/abc: ok");
  });

  it("leaves everything else as it is", () => {
    for (const line of ["step 12 of 40", "exit 1", "v1.2.3", "5 items", "/home/tmp/x", "10 metres", "id 12345"])
      expect(normal(line)).toBe(line);
    expect(normal("took 3 s")).not.toBe(normal("took 3 steps"));
    expect(normal("0xZZ")).toBe("0xZZ");
  });

  it("sees what a terminal shows last, without colours", () => {
    expect(shownLine("10 %\r50 %\r100 %\r")).toBe("100 %");
    expect(shownLine("\x1b[31mred\x1b[0m")).toBe("red");
  });
});

describe("compare", () => {
  it("pairs what was changed, and keeps the rest apart", () => {
    const left = "a\nb\nc\nd\n";
    expect(rowsText(compare(left, "a\nB\nc\nd\ne\n", true))).toBe("=0/0 ~1/1 =2/2 =3/3 +4");
    expect(rowsText(compare(left, "a\nd\n", true))).toBe("=0/0 -1 -2 =3/1");
    expect(rowsText(compare("", "x\n", true))).toBe("+0");
    expect(rowsText(compare("", "", true))).toBe("");
  });

  it("ignores noise only when it is told to", () => {
    const [left, right] = ["11:00:00 go\nsame\n", "12:30:00 go\nsame\n"];
    expect(rowsText(compare(left, right, true))).toBe("=0/0 =1/1");
    expect(rowsText(compare(left, right, false))).toBe("~0/0 =1/1");
  });

  it("names every line of both sides once, in order, whatever they are", () => {
    let seed = 7;
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
      return seed % below;
    };
    for (let round = 0; round < 200; round++) {
      const text = (): string => Array.from({ length: random(20) }, () => `${"abcd"[random(4)]}\n`).join("");
      const [left, right] = [text(), text()];
      const found = compare(left, right, true);
      const of = (side: "left" | "right"): number[] =>
        found.rows.flatMap((row) => (side in row ? [(row as Record<string, unknown>)[side] as number] : []));
      expect(of("left")).toEqual(linesOf(left).map((_, index) => index));
      expect(of("right")).toEqual(linesOf(right).map((_, index) => index));
      for (const row of found.rows) if (row.kind === "same") expect(found.left[row.left]).toBe(found.right[row.right]);
    }
  });

  it("gives up lining up after its time, and still shows both", () => {
    const many = (word: string): string => Array.from({ length: 20_000 }, (_, line) => `${word} ${line}\n`).join("");
    const found = compare(`head\n${many("a")}`, `head\n${many("b")}`, true, 1);
    expect(found.aligned).toBe(false);
    expect(found.rows).toHaveLength(20_001);
    expect(found.rows[1]).toEqual({ kind: "changed", left: 1, right: 1 });
  });
});

describe("shownRows", () => {
  const lines = Array.from({ length: 40 }, (_, line) => `line ${line}`);
  const found = compare(lines.join("\n"), lines.map((line, at) => (at === 20 ? "other" : line)).join("\n"), true);

  it("folds what is the same, but for three lines around what differs", () => {
    const shown = shownRows(found.rows, new Set());
    expect(shown[0]).toEqual({ kind: "fold", from: 0, to: 17 });
    expect(shown.at(-1)).toEqual({ kind: "fold", from: 24, to: 40 });
    expect(shown).toHaveLength(9);
    expect(differences(shown)).toEqual([4]);
  });

  it("unfolds one at a time", () => {
    const shown = shownRows(found.rows, new Set([0]));
    expect(shown.filter((one) => one.kind === "fold")).toEqual([{ kind: "fold", from: 24, to: 40 }]);
    expect(shown).toHaveLength(25);
  });
});
