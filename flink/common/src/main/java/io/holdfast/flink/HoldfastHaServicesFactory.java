package io.holdfast.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.runtime.highavailability.ClientHighAvailabilityServices;
import org.apache.flink.runtime.highavailability.HighAvailabilityServices;
import org.apache.flink.runtime.highavailability.HighAvailabilityServicesFactory;

import java.util.concurrent.Executor;

/** {@code high-availability.type: io.holdfast.flink.HoldfastHaServicesFactory}. */
public final class HoldfastHaServicesFactory implements HighAvailabilityServicesFactory {
    /** The line of Flink at hand, told by classes that came with it. */
    private static String adapter() {
        if (exists("org.apache.flink.runtime.jobmanager.ApplicationStore")) {
            return "io.holdfast.flink.HaServicesV23";
        }
        if (exists("org.apache.flink.runtime.jobmanager.ExecutionPlanStore")) {
            return "io.holdfast.flink.HaServicesV20";
        }
        return "io.holdfast.flink.HaServicesV120";
    }

    private static boolean exists(String name) {
        try {
            Class.forName(name, false, HoldfastHaServicesFactory.class.getClassLoader());
            return true;
        } catch (ClassNotFoundException e) {
            return false;
        }
    }

    private static HighAvailabilityServices make(Configuration configuration, Executor executor) throws Exception {
        return (HighAvailabilityServices)
                Class.forName(adapter(), true, HoldfastHaServicesFactory.class.getClassLoader())
                        .getConstructor(Configuration.class, Executor.class)
                        .newInstance(configuration, executor);
    }

    @Override
    public HighAvailabilityServices createHAServices(Configuration configuration, Executor executor) throws Exception {
        return make(configuration, executor);
    }

    @Override
    public ClientHighAvailabilityServices createClientHAServices(Configuration configuration) throws Exception {
        return make(configuration, Runnable::run);
    }
}
