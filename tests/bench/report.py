"""Prints what the bench has measured, and writes it into the documentation."""
import plot

MARK = "<!-- bench -->"


def amount(value, measures):
    if value is None:
        return ""
    units = (("GB", 1e9), ("MB", 1e6)) if measures == "bytes" else (("s", 1), ("ms", 1e-3), ("us", 1e-6))
    unit, size = next(((u, s) for u, s in units if value >= s), units[-1])
    number = value / size
    return f"{number:.{0 if number >= 99.95 else 1 if number >= 9.995 else 2}f} {unit}"


def cells(row):
    """side, time, share, peer, its time, ratio, remark"""
    share = "" if row["share"] is None else f"{100 * row['share']:.0f} % {row['limit']}"
    if row["asked_share"]:
        share += f" (>= {100 * row['asked_share']:.0f})"
    ratio = "" if row["ratio"] is None else f"{row['ratio']:.2f}"
    if row["ratio"] is not None and row["asked"]:
        ratio += f" (>= {row['asked']:.3g})"
    peer = (row["peer_name"] or "") + (", memory" if row["measures"] == "bytes" else "")
    remark = "MISSED" if row["missed"] else "absent: " + row["absent"] if row["absent"] else ""
    if row["threads"] > 1 and row["others"] > 0.1:
        remark += f" (others used {row['others']:.1f} processors)"
    return [row["side"], amount(row["ours"], row["measures"]), share, peer,
            amount(row["peer"], row["measures"]), ratio, remark.strip()]


WIDTHS = [28, 9, 26, 28, 9, 16, 0]


def print_cells(values):
    print(" ".join(f"{value:{width}}" for value, width in zip(values, WIDTHS)).rstrip(), flush=True)


def print_head():
    print_cells(["ours", "time", "share of the limit", "beside", "time", "ratio", ""])


def print_rows(rows):
    if rows:
        print(f"-- {rows[0]['group']}: {rows[0]['name']}")
    for row in rows:
        print_cells(cells(row))


def print_tail(result):
    for name, value in result["machine"].items():
        print(f"{name}: {value}")
    print("limits: " + "; ".join(f"{name} {value:.1f}" for name, value in result["limits"].items()))
    missed = [row for row in result["rows"] if row["missed"]]
    print(f"{len(result['rows'])} comparisons in {result['minutes']:.1f} minutes, "
          f"{len(missed)} below what is asked")


def table(result):
    lines = ["The machine:", ""]
    for name, value in result["machine"].items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        text = ", ".join(text) if isinstance(text, list) else text
        lines.append(f"- {name}: {text}")
    limits = [f"{name} {value:.1f}" for name, value in result["limits"].items()]
    lines += ["- limits: " + "; ".join(limits), ""]
    group = name = None
    for row in result["rows"]:
        if row["group"] != group:
            group, name = row["group"], None
            lines += ["", f"### {group.capitalize()}", "",
                      "| | ours | time | share of the limit | beside | time | ratio | |",
                      "|---|---|---|---|---|---|---|---|"]
        first = "" if row["name"] == name else row["name"]
        name = row["name"]
        lines.append("| " + " | ".join([first, *cells(row)]).replace("MISSED", "missed") + " |")
    return "\n".join(lines)


def document(folder, result):
    path = f"{folder}/performance.md"
    with open(path) as file:
        text = file.read()
    parts = text.split(MARK)
    if len(parts) != 3:
        raise SystemExit(f"{path} must hold {MARK} twice: the table stands in between")
    with open(path, "w") as file:
        file.write(MARK.join([parts[0], "\n" + table(result) + "\n", parts[2]]))
    plot.write(folder, result)
