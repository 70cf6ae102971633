// Bytes that are read from the front.
#pragma once

#include <cstdint>

namespace aisle {

// Little-endian wherever this runs.
class Bytes {
public:
    Bytes(const uint8_t* data, int64_t size) : data_(data), left_(size) {}

    const uint8_t* data() const { return data_; }
    int64_t left() const { return left_; }
    void skip(int64_t count) { data_ += count, left_ -= count; }

    uint64_t number(int bytes) {
        uint64_t value = 0;
        for (int k = 0; k < bytes; ++k) value |= static_cast<uint64_t>(data_[k]) << (8 * k);
        skip(bytes);
        return value;
    }

private:
    const uint8_t* data_;
    int64_t left_;
};

}  // namespace aisle
