"""The figure of the README: the doctor's report on a network that is about to explode.

Run it with `python demos/doctor_picture.py`.
"""

import minidl as md

PATH = "docs/figures/doctor.png"


def main() -> None:
    digits = md.data.digits()
    images = md.data.standardize(digits.images)(digits.images)
    md.manual_seed(0)
    model = md.models.deep_plain_cnn(8, 16, md.nn.init.normal(0.3))
    optimizer = md.optim.SGD(model.parameters(), lr=0.1)
    report = md.health.doctor(model, (images[:64], digits.labels[:64]), optimizer)
    print(report.table())
    report.plot(PATH)
    print(f"drawn to {PATH}")
    assert report.verdict == "will diverge"
    assert report.regime == "signal explodes"


if __name__ == "__main__":
    main()
