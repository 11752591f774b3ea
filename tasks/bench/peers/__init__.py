"""neuro beside other simulators and libraries, on published networks among others."""
