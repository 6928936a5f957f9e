"""Reading this process's own metrics."""

from kasuwa.base.http import metrics


def number_of(sample: str, **labels: str) -> float:
    """The sample of a counter or a histogram, such as `kasuwa_messages_total`; 0 while there is none."""
    return metrics._registry.get_sample_value(sample, labels) or 0.0
