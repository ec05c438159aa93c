package io.holdfast.flink;

import java.io.IOException;

/** An answer of holdfastd other than success, or none at all. */
public class HoldfastException extends IOException {
    private static final long serialVersionUID = 1L;

    private final String status;
    private final boolean ambiguous;

    HoldfastException(String status, boolean ambiguous, String message, Throwable cause) {
        super(message, cause);
        this.status = status;
        this.ambiguous = ambiguous;
    }

    /** The name in the status table of docs/protocol.md, section 8. */
    public String status() {
        return status;
    }

    public boolean is(String wanted) {
        return status.equals(wanted);
    }

    /** True when the write may have taken place: an attempt ended in doubt and was never cleared up. */
    public boolean isAmbiguous() {
        return ambiguous;
    }
}
